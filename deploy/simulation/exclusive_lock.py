"""One process at a time at work on what several share, by a lock that ends with its process."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone_at(path: Path, waits: Callable[[], None]) -> Iterator[None]:
    """Hold the lock beside `path` while the block runs; where another process holds it, call `waits` once and wait."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
