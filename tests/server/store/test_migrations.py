"""Revisions make the tables that the schema describes, on both databases, and refuse what they do not know."""

import sqlite3
import threading
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from server.store.database import open_store
from server.store.migrate import version_of
from server.store.migrations import HEAD, REVISIONS
from server.store.schema import METADATA, RECORDS, ROUNDS, STUDIES
from server.store.transactions import writing
from shared.errors import StoreError
from tests.audit_records import fill, small_study


def test_revisions_make_what_the_schema_describes(store: sa.Engine) -> None:
    """Between a store made by the revisions and the schema nothing differs; else the missing operations are printed."""
    with store.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": METADATA})
        missing = produce_migrations(context, METADATA).upgrade_ops
        assert missing is not None
        assert compare_metadata(context, METADATA) == [], f"add a revision:\n{render_python_code(missing)}"


def test_every_revision_is_known_by_name() -> None:
    """The names in the package are those of the files, in order, so that opening a store reads no file."""
    config = Config()
    config.set_main_option("script_location", str(files("server.store") / "migrations"))
    config.set_main_option("path_separator", "os")
    found = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_a_store_is_opened_twice_without_a_change(url: str) -> None:
    """A second opening finds the store as it is, with its records."""
    first = open_store(url)
    fill(first, small_study())
    first.dispose()
    second = open_store(url)
    with second.connect() as connection:
        assert version_of(connection) == HEAD
        number = connection.execute(sa.select(sa.func.count()).select_from(RECORDS)).scalar_one()
    second.dispose()
    assert number == len(small_study())


def test_two_that_open_a_new_store_at_once_both_get_it(url: str) -> None:
    """The tables are made once, whoever comes first."""
    barrier, engines, failed = threading.Barrier(4), [], []

    def opened() -> None:
        barrier.wait()
        try:
            engines.append(open_store(url))
        except Exception as error:  # noqa: BLE001 - any failure is told
            failed.append(error)

    threads = [threading.Thread(target=opened) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert failed == []
    for engine in engines:
        with engine.connect() as connection:
            assert version_of(connection) == HEAD
        engine.dispose()


def test_a_newer_store_is_refused(store: sa.Engine) -> None:
    """A store whose revision is not known here is left alone, in one sentence that says what to do."""
    with writing(store).begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        StoreError, match=r"newer version \(tables 9999, this one knows .*; update teaching-rounds"
    ):
        open_store(store.url.render_as_string(hide_password=False))


def test_a_database_of_somebody_else_is_refused(url: str) -> None:
    """Where other tables stand, no store is made beside them."""
    engine = sa.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE patients (name TEXT)"))
    engine.dispose()
    with pytest.raises(StoreError, match=r"holds other tables \(patients\); give a database of its own"):
        open_store(url)


def test_an_older_store_gets_its_tables_filled_anew(
    store: sa.Engine, monkeypatch: pytest.MonkeyPatch, count: Callable[[sa.Table], int]
) -> None:
    """After an upgrade the tables that pages read are made again from the records, by the new version's rules."""
    fill(store, small_study())
    before = count(ROUNDS)
    with writing(store).begin() as connection:
        connection.execute(sa.delete(ROUNDS))
        connection.execute(sa.update(STUDIES).values(verdict="none"))
    monkeypatch.setattr("server.store.migrate.HEAD", "0000")  # so that the store is not the newest
    monkeypatch.setattr("server.store.migrate._upgrade", lambda _: None)
    open_store(store.url.render_as_string(hide_password=False)).dispose()
    assert count(ROUNDS) == before == 9
    with store.connect() as connection:
        assert connection.execute(sa.select(STUDIES.c.verdict)).scalar_one() == "accepted"


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("mysql://root@localhost/store", "mysql is no database that it works on"),
        ("nonsense:", "cannot be opened"),
        ("://", "is no URL of a database"),
        (
            "postgresql://nobody@localhost:1/none",
            "cannot be opened; check the path or that the database runs",
        ),
    ],
)
def test_what_is_no_store_is_told_in_a_sentence(where: str, says: str, tmp_path: Path) -> None:
    """A wrong URL ends in one sentence that names what is allowed or what to check."""
    if ":" in where and "://" not in where:
        where = str(tmp_path / "missing" / "store.sqlite")
    with pytest.raises(StoreError, match=says):
        open_store(where)


def test_a_password_is_never_repeated() -> None:
    """The sentence about a store that cannot be opened hides the password of its URL."""
    with pytest.raises(StoreError) as caught:
        open_store("postgresql://rounds:topsecret@localhost:1/none")
    assert "topsecret" not in str(caught.value)
    assert "rounds:***@" in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A text file under the store's name is neither read nor written."""
    path = tmp_path / "store.sqlite"
    path.write_text("this is not a database" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(path)
    assert path.read_bytes() == before


def test_a_file_that_must_exist_is_not_made(tmp_path: Path) -> None:
    """Where a store is to be looked at, a wrong path makes no new one."""
    with pytest.raises(StoreError, match="no such file"):
        open_store(tmp_path / "store.sqlite", must_exist=True)
    assert list(tmp_path.iterdir()) == []


def test_sqlite_is_durable_and_lets_readers_go_on(tmp_path: Path) -> None:
    """Commits wait for the disk, and a reader is never kept waiting by a writer."""
    engine = open_store(tmp_path / "store.sqlite")
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    engine.dispose()
    with sqlite3.connect(tmp_path / "store.sqlite") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
