import threading
from pathlib import Path

import sqlalchemy as sa

from server.dashboard.rendering.view_cache import ViewCache, newest_record
from server.store.append import append_own
from server.store.database import open_store, writing
from server.store.record_kinds import EventBody


def record(engine: sa.Engine) -> None:
    with writing(engine).begin() as connection:
        append_own(connection, "people", "", EventBody(event="something"))


def test_a_view_is_read_again_only_after_a_new_record(tmp_path: Path) -> None:
    """The same key gives the same value until the store has changed."""
    engine, cache, read = open_store(tmp_path / "s.sqlite"), ViewCache(), []
    for changed in (False, False, True, False):
        if changed:
            record(engine)
        with engine.connect() as connection:
            cache.get(newest_record(connection), "page", lambda: read.append(1))
    assert len(read) == 2
    engine.dispose()


def test_many_readers_at_once_read_once(tmp_path: Path) -> None:
    """Eight threads that ask together get the same value from one reading."""
    engine, cache, read, start = open_store(tmp_path / "s.sqlite"), ViewCache(), [], threading.Barrier(8)

    def build() -> object:
        read.append(1)
        return object()

    found: list[object] = []

    def ask() -> None:
        with engine.connect() as connection:
            start.wait()
            found.append(cache.get(newest_record(connection), "page", build))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read) == 1
    assert len({id(one) for one in found}) == 1
    engine.dispose()


def test_only_so_many_views_are_kept(tmp_path: Path) -> None:
    """The one that was used longest ago goes first."""
    engine, cache, read = open_store(tmp_path / "s.sqlite"), ViewCache(most=2), []
    with engine.connect() as connection:
        for key in ("a", "b", "a", "c", "a", "b"):
            cache.get(newest_record(connection), key, lambda key=key: read.append(key))
    assert read == ["a", "b", "c", "b"]
    engine.dispose()
