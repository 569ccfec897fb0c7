"""Stores to test, each on SQLite and on PostgreSQL: empty ones, and one that holds the small study."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.store.database import open_store
from tests.audit_records import fill, small_study
from tests.postgres import missing_postgres, postgres_server

_NUMBERS = itertools.count()
BOTH = ("sqlite", "postgresql")


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run one PostgreSQL for all tests; without one, those that need it say why and are skipped."""
    if why := missing_postgres():
        pytest.skip(why)
    with postgres_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """Make an empty store once: the database that others are copied from."""
    url = _new_database(postgres, "template0")
    open_store(url).dispose()
    return url


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    return _new_database(request.getfixturevalue("postgres"), "template0")


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[sa.Engine]:
    """Open an empty store."""
    if request.param == "sqlite":
        where = str(tmp_path / "store.sqlite")
    else:
        template = request.getfixturevalue("postgres_template")
        where = _new_database(request.getfixturevalue("postgres"), sa.make_url(template).database or "")
    engine = open_store(where)
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


def _new_database(server: str, template: str) -> str:
    """Make a database on the server and return its URL."""
    name = f"store{next(_NUMBERS)}"
    url = sa.make_url(server).set(drivername="postgresql+psycopg")
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    engine.dispose()
    return sa.make_url(server).set(database=name).render_as_string(hide_password=False)
