"""Worker processes that end with the work they were started for."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context
from typing import Literal


@contextmanager
def worker_processes(count: int, start: Literal["fork", "spawn"]) -> Iterator[ProcessPoolExecutor]:
    """Lend a pool of processes; an error or an exit that leaves the block ends them at once, busy or not.

    The pool by itself would first wait for everything that was submitted.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(count, mp_context=get_context(start))
    try:
        yield pool
    except BaseException:
        for process in set(active_children()) - others:
            process.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()
