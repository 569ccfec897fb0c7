"""Following the run folders of this machine while studies run: a look once a second, in a thread of its own.

In: a store, and a run folder or a folder of run folders. Out: the store has what they have, about a second later.
"""

import logging
import threading
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from server.store.intake.ingest import find_outboxes, ingest
from server.store.intake.outbox import Outbox
from shared.errors import StoreError

log = logging.getLogger("rounds.store")
SECONDS: Final = 1.0
_Looks = tuple[tuple[int, int] | None, ...]


class Tail:
    """Follows from entering the block until leaving it; what hinders a look is logged, and the next one tries again."""

    def __init__(self, engine: sa.Engine, path: Path, seconds: float = SECONDS) -> None:
        self._engine, self._path, self._seconds = engine, path, seconds
        self._seen: dict[str, _Looks] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="store-tail", daemon=True)

    def __enter__(self) -> Self:
        """Take what is there, then begin to follow."""
        self.look()
        self._thread.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Stop, after the look that is going on."""
        self._stop.set()
        self._thread.join()

    def look(self) -> int:
        """Ingest every outbox that was written since the last look; returns the number of new records."""
        new = 0
        for source, outbox in find_outboxes(self._path):
            looks = _looks_of(outbox)
            if self._seen.get(source) == looks:
                continue
            try:
                new += ingest(self._engine, outbox, source)
            except StoreError as error:
                log.error("%s: %s", source, error)  # on record as an incident; tried again when it is written
            self._seen[source] = looks  # as it was before: what came meanwhile is seen at the next look
        return new

    def _follow(self) -> None:
        while not self._stop.wait(self._seconds):
            try:
                self.look()
            except (StoreError, SQLAlchemyError, OSError) as error:
                log.error("store: %s; looking again in %g s", type(error).__name__, self._seconds)


def _looks_of(outbox: Outbox) -> _Looks:
    """Return time and size of an outbox's files: SQLite writes to the second before it writes to the first."""
    files = (outbox.path, outbox.path.with_name(f"{outbox.path.name}-wal"))
    return tuple(_look_of(file) for file in files)


def _look_of(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:  # the second is removed when the last process closes it
        return None
    return found.st_mtime_ns, found.st_size
