"""One changed byte anywhere in evidence, or in the tables made from it, is found."""

import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from server.store.append import Head, append_own
from server.store.database import COMPACT, open_store
from server.store.rebuild import rebuild
from server.store.record_kinds import DecisionBody
from server.store.schema import BLOBS, PROJECTED, RECORDS, ROUNDS, SOURCES
from server.store.transactions import writing
from server.store.verification.verify import verify
from tests.audit_records import BIG_UID, START, Entry, big_study, fill

EVERY_TABLE = (RECORDS, SOURCES, BLOBS, *PROJECTED)


def tiny_study() -> Iterator[Entry]:
    """Return a study with a few rows in every table."""
    return big_study(rounds=2, sites=3, classes=2, images=3)


def fill_everything(store: sa.Engine) -> None:
    """Put rows into every table of evidence and of what is made from it, a few of each."""
    fill(store, tiny_study(), BIG_UID, "run:tiny")
    decision = DecisionBody(
        person="ada", role="auditor", action="hold", reason="look again", evidence="0" * 64
    )
    with writing(store).begin() as connection:
        append_own(connection, "people", BIG_UID, decision)


@contextmanager
def owner(store: sa.Engine) -> Iterator[sa.Connection]:
    """Be who owns the database: no trigger, no reference and no transaction's rule holds."""
    if store.dialect.name == "sqlite":
        engine = sa.create_engine(store.url, json_serializer=COMPACT)
        with engine.begin() as connection:
            for name in connection.exec_driver_sql(
                "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            ).scalars():
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
            yield connection
        engine.dispose()
        return
    with writing(store).begin() as connection:
        for table in EVERY_TABLE:
            connection.exec_driver_sql(f"ALTER TABLE {table.name} DISABLE TRIGGER ALL")
        yield connection


def findings(store: sa.Engine, kept: Head | None = None) -> list[str]:
    """Return what is found beside the triggers that the owner took away."""
    return [one for one in verify(store, kept).findings if not one.startswith("trigger ")]


def changed(value: Any) -> Any:
    """Return a value that differs in one byte, or where that makes no other value of its type, in one step."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value[:-1] + ("0" if value[-1:] != "0" else "1")
        case bytes():
            return value[:-1] + bytes([value[-1] ^ 1])
        case None:
            return 1
    raise AssertionError(type(value))


def test_a_store_that_nobody_touched_has_no_findings(store: sa.Engine) -> None:
    """Everything is looked at and nothing is found; the head is what was appended last."""
    fill_everything(store)
    found = verify(store)
    assert found.findings == ()
    assert found.num_records == len(list(tiny_study())) + 1
    assert found.num_blobs == len({blob.digest for _, blobs in tiny_study() for blob in blobs})
    assert findings(store, found.head) == []


def test_an_empty_store_has_no_findings(store: sa.Engine) -> None:
    """Nothing is not wrong."""
    assert verify(store).findings == ()
    assert verify(store).head == Head()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fill a store once, for tests that each change a copy."""
    path = tmp_path_factory.mktemp("whole") / "store.sqlite"
    engine = open_store(path)
    fill_everything(engine)
    with engine.connect() as connection:
        for table in EVERY_TABLE:
            assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one(), table.name
    engine.dispose()
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    """Open a copy of the filled store."""
    shutil.copy(whole, tmp_path / "store.sqlite")
    engine = open_store(tmp_path / "store.sqlite")
    yield engine
    engine.dispose()


@pytest.mark.parametrize("table", EVERY_TABLE, ids=str)
def test_a_change_in_any_column_is_found(copy: sa.Engine, table: sa.Table) -> None:
    """In each column of each table of evidence, and of those made from it, one byte is changed and found."""
    with owner(copy):
        pass  # no trigger is left
    unnoticed = [column.name for column in table.c if not found_when_changed(copy, table.name, column.name)]
    assert unnoticed == []
    assert findings(copy) == []


def found_when_changed(store: sa.Engine, table: str, column: str) -> bool:
    """Change one value, look at the store, and put the value back; returns whether the look found anything."""
    place = f'SELECT rowid, "{column}" FROM {table} ORDER BY "{column}" IS NULL, rowid DESC LIMIT 1'  # noqa: S608 - of the schema
    with closing(sqlite3.connect(store.url.database or "", isolation_level=None)) as database:
        row, value = database.execute(place).fetchone()
        where = row if column != "id" else changed(value)  # `id` is the row's own number in SQLite
        database.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (changed(value), row))  # noqa: S608 - likewise
        found = findings(store)
        database.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (value, where))  # noqa: S608 - likewise
    return bool(found)


def test_white_space_in_stored_json_is_found(copy: sa.Engine) -> None:
    """A byte that means nothing to who reads the JSON is a changed byte all the same."""
    with owner(copy) as connection:
        connection.exec_driver_sql("UPDATE images SET maps = replace(maps, ',', ', ') WHERE rank = 3")
    assert findings(copy) == ["table images: its rows from record number 76 are not what that record says"]


@pytest.mark.parametrize("which", [b'"kind":"gate"', b"IHDR", b"Held because of"])
def test_a_byte_changed_in_the_file_itself_is_found(copy: sa.Engine, which: bytes) -> None:
    """A byte that no statement changed, but somebody with an editor, is found."""
    copy.dispose()
    path = Path(copy.url.database or "")
    content = bytearray(path.read_bytes())
    place = content.index(which)
    content[place] ^= 1
    path.write_bytes(bytes(content))
    assert findings(copy)


def test_a_broken_file_is_a_finding_and_no_failure(copy: sa.Engine) -> None:
    """Pages that are no longer pages are told in a sentence."""
    copy.dispose()
    path = Path(copy.url.database or "")
    content = bytearray(path.read_bytes())
    content[4096 * 60 : 4096 * 70] = bytes(4096 * 10)
    path.write_bytes(bytes(content))
    assert any(one.startswith("database: ") for one in findings(copy))


Act = Callable[[sa.Connection], object]
TAMPERING: dict[str, tuple[Act, str]] = {
    "a record's words": (
        lambda c: c.execute(
            sa.update(RECORDS)
            .where(RECORDS.c.kind == "gate")
            .values(body=sa.func.replace(RECORDS.c.body, "Held", "Hold"))
        ),
        r"record \d+ of run:tiny: its hash is not that of its content",
    ),
    "a record's time of arrival": (
        lambda c: c.execute(sa.update(RECORDS).where(RECORDS.c.id == 7).values(received=RECORDS.c.time)),
        r"record 7 of run:tiny: is not sealed as number 7",
    ),
    "a record taken out": (
        lambda c: [c.execute(sa.delete(table).where(table.c.record == 12)) for table in PROJECTED]
        and c.execute(sa.delete(RECORDS).where(RECORDS.c.id == 12)),
        r"records: number 12 is missing, 13 comes next",
    ),
    "a blob's bytes": (
        lambda c: c.execute(sa.update(BLOBS).where(BLOBS.c.media_type == "image/png").values(content=b"other")),
        r"blob [0-9a-f]{12}: its bytes are not those of its digest",
    ),
    "a blob's kind": (
        lambda c: c.execute(
            sa.update(BLOBS).where(BLOBS.c.media_type == "application/octet-stream").values(media_type="text/html")
        ),
        r"is not sealed as number \d+; its source, order, arrival or a blob's kind changed",
    ),
    "a blob taken away": (
        lambda c: c.execute(sa.delete(BLOBS).where(BLOBS.c.media_type == "application/octet-stream")),
        r"record \d+ of run:tiny: names blob [0-9a-f]{12}, which is not here",
    ),
    "a head": (
        lambda c: c.execute(sa.update(SOURCES).where(SOURCES.c.source == "people").values(seq=0)),
        r"source people: its head is not its last record",
    ),
    "a source that never was": (
        lambda c: c.execute(sa.update(SOURCES).where(SOURCES.c.source == "people").values(source="nobody")),
        r"source nobody: its head is not its last record",
    ),
    "a figure on the page": (
        lambda c: c.execute(sa.update(ROUNDS).where(ROUNDS.c.round == 2).values(value=0.999)),
        r"table rounds: its rows from record number \d+ are not what that record says",
    ),
    "a row that no record made": (
        lambda c: c.execute(sa.insert(ROUNDS), {"study_uid": BIG_UID, "round": 9, "record": 1, "num_answered": 4,
                                                "num_missing": 0, "num_bytes": 0, "n": 0, "closed": START}),
        r"table rounds: its rows from record number 1 are not what that record says",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_is_told_in_words(store: sa.Engine, what: str) -> None:
    """On either database, what was done to the store is told by the sentence for it."""
    fill_everything(store)
    act, sentence = TAMPERING[what]
    with owner(store) as connection:
        act(connection)
    told = findings(store)
    assert any(re.search(sentence, one) for one in told), told


def test_a_cut_end_is_shown_by_a_head_that_was_kept(store: sa.Engine) -> None:
    """Who cuts off the last record and puts the head back is found out by the head that somebody wrote down."""
    fill_everything(store)
    kept = verify(store).head
    with owner(store) as connection:
        for table in PROJECTED:
            connection.execute(sa.delete(table).where(table.c.record == kept.seq))
        connection.execute(sa.delete(RECORDS).where(RECORDS.c.id == kept.seq))
        connection.execute(sa.delete(SOURCES).where(SOURCES.c.source == "people"))
        rebuild(connection)
    assert findings(store) == []
    assert findings(store, kept) == [
        f"record number {kept.seq}: is not here with the seal that was kept; records were cut off or changed"
    ]


def test_many_findings_of_one_table_are_counted(store: sa.Engine) -> None:
    """A table that is wrong all over takes a few lines, not thousands."""
    fill_everything(store)
    with owner(store) as connection:
        connection.execute(sa.text("UPDATE maps SET num_images = num_images + 1"))
    told = findings(store)
    assert len(told) == 11
    assert told[-1] == "table maps: so are those from 34 more records"


def test_tables_made_anew_are_those_that_were(store: sa.Engine) -> None:
    """After any change to the tables that pages read, a rebuild leaves nothing to find."""
    fill_everything(store)
    with writing(store).begin() as connection:
        connection.execute(sa.update(ROUNDS).values(value=0.5))
        assert rebuild(connection) == len(list(tiny_study())) + 1
    assert verify(store).findings == ()
