"""Stores to test, each on SQLite and on PostgreSQL: empty ones, and one that holds the small study."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.store.database import open_store
from server.store.migrations import HEAD
from server.store.schema import METADATA
from server.store.transactions import writing
from server.store.triggers import make_triggers
from tests.audit_records import fill, small_study
from tests.postgres import missing_postgres, new_database, postgres_server

BOTH = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run one PostgreSQL for all tests; without one, those that need it say why and are skipped."""
    if why := missing_postgres():
        pytest.skip(why)
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_store(postgres: str) -> Iterator[sa.Engine]:
    """Open one store on PostgreSQL for all tests, which each find it empty: making a database takes seconds."""
    engine = open_store(new_database(postgres))
    yield engine
    engine.dispose()


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """Open an empty store."""
    if request.param == "sqlite":
        engine = open_store(tmp_path / "store.sqlite")
    else:
        engine = request.getfixturevalue("postgres_store")
        _empty(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def small_store(store: sa.Engine) -> sa.Engine:
    """Fill a store with the small study."""
    fill(store, small_study())
    return store


@pytest.fixture
def count(store: sa.Engine) -> Callable[[sa.Table], int]:
    """Count the rows of a table."""

    def counted(table: sa.Table) -> int:
        with store.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    return counted


def _empty(engine: sa.Engine) -> None:
    """Take everything out, as the owner of the database can."""
    with writing(engine).begin() as connection:
        for table in METADATA.tables:
            connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        connection.exec_driver_sql(f"TRUNCATE {', '.join(METADATA.tables)}")
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})
        for table in METADATA.tables:
            connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE TRIGGER USER")
        make_triggers(connection)
