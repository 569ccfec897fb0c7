"""Opening the store: SQLite by default, PostgreSQL by URL.

In: a URL or a file's path. Out: an engine whose write transactions exclude each other. `StoreError` says in one
sentence why a store cannot be opened.
"""

from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError

from server.store.schema import METADATA
from shared.errors import StoreError

_BUSY_MILLISECONDS = 30_000


def open_store(where: str | Path) -> sa.Engine:
    """Open the store, and make its tables where there are none; `where` is a URL or the path of an SQLite file."""
    url = f"sqlite:///{where}" if "://" not in str(where) else str(where)
    try:
        engine = sa.create_engine(url)
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine)
        METADATA.create_all(engine)
    except (ArgumentError, ImportError) as error:
        raise StoreError(
            "store: is no URL of a database, allowed are a file's path, sqlite:///FILE and "
            "postgresql+psycopg://USER@HOST/NAME; correct it"
        ) from error
    except (OperationalError, SQLAlchemyError) as error:
        raise StoreError(
            f"store {engine.url.render_as_string(hide_password=True)}: cannot be opened; check the path or that the "
            "database runs and lets this account in"
        ) from error
    return engine


def absolute(where: str) -> str:
    """Return a store's URL or path as it holds from any working folder."""
    if "://" not in where:
        return str(Path(where).resolve())
    start, sign, path = where.partition("sqlite:///")
    return f"{sign}{Path(path).resolve()}" if sign and not start and path else where


def _prepare_sqlite(engine: sa.Engine) -> None:
    """One writer at a time from its first statement on, durable, and readers that never wait.

    Python's own transactions begin only before a write, so a read that decides what is written would not be covered
    (SQLAlchemy's documentation, "Serializable isolation / Savepoints").
    """

    @sa.event.listens_for(engine, "connect")
    def _settings(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MILLISECONDS}"
        ):  # fmt: skip
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def writing(engine: sa.Engine) -> sa.Engine:
    """Return the engine whose `begin` starts a transaction that writes, so that no other does meanwhile."""
    return engine.execution_options(writes=True)
