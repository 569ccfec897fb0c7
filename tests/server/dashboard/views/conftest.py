"""A store with the finished small study, to read views from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.store.database import open_store
from tests.audit_records import Entry, fill, small_study

Filled = Callable[[list[Entry]], sa.Engine]


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Filled]:
    """Return a way to make a store of some entries."""
    opened = []

    def make(entries: list[Entry]) -> sa.Engine:
        engine = open_store(tmp_path / f"{len(opened)}.sqlite")
        opened.append(engine)
        fill(engine, entries)
        return engine

    yield make
    for engine in opened:
        engine.dispose()


@pytest.fixture
def small(filled: Filled) -> sa.Engine:
    """Return a store of the small study."""
    return filled(small_study())


@pytest.fixture
def counted() -> Callable[..., object]:
    """Return a block that counts the statements of an engine."""

    @contextmanager
    def count(engine: sa.Engine) -> Iterator[list[str]]:
        seen: list[str] = []

        def note(*told: object) -> None:
            statement = str(told[2])
            if statement.lstrip().upper().startswith(("SELECT", "WITH")):
                seen.append(statement)

        sa.event.listen(engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            sa.event.remove(engine, "before_cursor_execute", note)

    return count
