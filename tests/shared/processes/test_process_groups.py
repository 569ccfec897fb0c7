"""Worker processes: results come back, and nothing outlives the block."""

import os
import signal
import time
from concurrent.futures import Future
from multiprocessing import active_children
from typing import Literal

import pytest

from shared.processes.process_groups import worker_processes

FOR_EVER = 3600.0
Start = Literal["fork", "spawn"]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_results_come_back_and_no_process_stays(start: Start) -> None:
    """A block that ends normally has its results, also those it did not wait for, and leaves no process."""
    before = active_children()
    with worker_processes(2, start) as pool:
        waited = list(pool.map(abs, [-1, -2, -3]))
        left = pool.submit(abs, -4)
    assert waited == [1, 2, 3]
    assert left.result(timeout=0) == 4
    assert active_children() == before


def leave_early(start: Start, error: type[BaseException], jobs: list[Future[None]]) -> None:
    with worker_processes(2, start) as pool:
        process = pool.submit(os.getpid).result()
        jobs += [pool.submit(time.sleep, FOR_EVER) for _ in range(5)]
        os.kill(process, signal.SIGSTOP)  # a stopped process hears of no gentler end
        raise error


@pytest.mark.parametrize("start", ["fork", "spawn"])
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, ValueError])
def test_an_error_ends_busy_workers_at_once(start: Start, error: type[BaseException]) -> None:
    """What leaves the block early ends busy, stopped and waiting work in seconds, and goes on its way."""
    before = active_children()
    jobs: list[Future[None]] = []
    with pytest.raises(error):
        leave_early(start, error, jobs)
    assert active_children() == before
    assert len(jobs) == 5
    assert all(job.done() for job in jobs)
