"""Processes that end with the work they were started for: pools of workers, and whole sessions of others."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context
from typing import Literal

import psutil


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


def end_session(leader: int) -> None:
    """End all processes of a session that we began, its leader being gone: gently, then by force."""
    end_processes(_session(leader))


def end_processes(processes: Iterable[psutil.Process]) -> None:
    """End processes gently, then by force, and wait until they are gone; one that is gone already is no mistake."""
    left = list(processes)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    _, alive = psutil.wait_procs(left, timeout=5)
    for one in alive:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    psutil.wait_procs(alive, timeout=5)


def _session(leader: int) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == leader and process.status() != psutil.STATUS_ZOMBIE:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, PermissionError):
            continue
