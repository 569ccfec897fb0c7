"""Opening the store: SQLite by default, PostgreSQL by URL.

In: a URL or a file's path. Out: an engine (see `transactions`) whose tables are those of this version. `StoreError`
says in one sentence why a store cannot be opened.
"""

import json
from functools import partial
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from server.store.migrate import bring_up_to_date
from server.store.transactions import prepare, writing
from shared.errors import StoreError

__all__ = ["COMPACT", "open_store", "writing"]
_FORMS: Final = "allowed are a file's path, sqlite:///FILE and postgresql://USER@HOST/NAME"
COMPACT: Final = partial(json.dumps, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_MOST_CONNECTIONS: Final = (
    50  # of one process beyond the five that are kept: a page holds one while it is made
)
_CONNECT_SECONDS: Final = 10


def open_store(where: str | Path, *, must_exist: bool = False) -> sa.Engine:
    """Open the store, and make or change its tables where they are not those of this version.

    `where` is a URL or the path of an SQLite file; with `must_exist` a file that is not there is no new store. A
    password need not stand in the URL: PostgreSQL's own PGPASSWORD and .pgpass are read.
    """
    engine = _engine(str(where))
    file = engine.url.database
    if must_exist and engine.dialect.name == "sqlite" and file and not Path(file).is_file():
        raise StoreError(f"store {file}: no such file; give the store's path or URL")
    prepare(engine)
    try:
        bring_up_to_date(engine)
    except StoreError:
        engine.dispose()
        raise
    except SQLAlchemyError as error:
        engine.dispose()
        raise StoreError(
            f"store {engine.url.render_as_string(hide_password=True)}: cannot be opened; check the path or that the "
            "database runs and lets this account in"
        ) from error
    return engine


def _engine(where: str) -> sa.Engine:
    try:
        url = sa.make_url(where if "://" in where else f"sqlite:///{where}")
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        if url.drivername not in ("sqlite", "postgresql+psycopg"):
            raise StoreError(f"store: {url.drivername} is no database that it works on, {_FORMS}; correct it")
        if url.drivername == "sqlite":
            return sa.create_engine(url, json_serializer=COMPACT, max_overflow=_MOST_CONNECTIONS)
        connect = {"connect_timeout": _CONNECT_SECONDS, "application_name": "teaching-rounds"}
        return sa.create_engine(
            url,
            json_serializer=COMPACT,
            pool_pre_ping=True,
            connect_args=connect,
            max_overflow=_MOST_CONNECTIONS,
        )
    except ArgumentError as error:
        raise StoreError(f"store: is no URL of a database, {_FORMS}; correct it") from error
    except ImportError as error:
        raise StoreError(
            "store: PostgreSQL needs psycopg, which is not installed; install teaching-rounds[postgresql]"
        ) from error
