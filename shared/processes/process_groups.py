"""Processes that end with the work they were started for: pools of workers, and whole sessions of others."""

import ctypes
import os
import signal
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import active_children, get_context
from typing import Literal

import psutil

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


@contextmanager
def worker_processes(count: int, start: Literal["fork", "spawn"]) -> Iterator[ProcessPoolExecutor]:
    """Lend a pool of processes; an error or an exit that leaves the block ends them at once, busy or not.

    The pool by itself would first wait for everything that was submitted.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(
        count, mp_context=get_context(start), initializer=_as_worker, initargs=(os.getpid(),)
    )
    try:
        yield pool
    except BaseException:
        for process in set(active_children()) - others:
            process.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _as_worker(parent: int) -> None:
    """Leave Ctrl-C to the process that owns the pool, which ends this one; end when that one is killed (Linux)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


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
