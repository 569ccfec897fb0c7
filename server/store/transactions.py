"""Transactions that mean the same on SQLite and PostgreSQL.

In: a fresh engine. Out: one whose writing transactions exclude each other over all processes from their first statement
on, and are durable; its other transactions see one state of the store from beginning to end, and cannot write.
"""

from typing import Any, Final

import sqlalchemy as sa

_BUSY_MILLISECONDS: Final = 30_000
_WRITERS: Final = 0x726F756E6473  # PostgreSQL's advisory lock by which writers take turns: "rounds"
_READ_COMMITTED, _REPEATABLE_READ = 2, 3  # psycopg's numbers


def writing(engine: sa.Engine) -> sa.Engine:
    """Return the engine whose `begin` starts a transaction that writes, so that no other does meanwhile."""
    return engine.execution_options(writes=True)


def prepare(engine: sa.Engine) -> None:
    """Make transactions of this engine what the module says."""
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    else:
        sa.event.listen(engine, "begin", _begin_postgresql)


def _set_up_sqlite(connection: Any, _: Any) -> None:
    """Leave transactions to `_begin_sqlite`.

    Python's own begin only before a write, so a read that decides what is written would not be covered (SQLAlchemy's
    documentation, "Serializable isolation / Savepoints").
    """
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON",
        f"busy_timeout={_BUSY_MILLISECONDS}",
    ):  # fmt: skip
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writes = _writes(connection)
    driver: Any = connection.connection.dbapi_connection
    driver.execute(f"PRAGMA query_only={'OFF' if writes else 'ON'}")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: sa.Connection) -> None:
    """Let writers take turns; so numbers of records become visible in their order, and no first record meets another.

    A row lock would not do: before its first record a source has no row.
    """
    writes = _writes(connection)
    driver: Any = connection.connection.dbapi_connection
    driver.isolation_level = _READ_COMMITTED if writes else _REPEATABLE_READ
    driver.read_only = not writes
    if writes:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {_BUSY_MILLISECONDS}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS})")


def _writes(connection: sa.Connection) -> bool:
    return bool(connection.get_execution_options().get("writes", False))
