"""What the database itself refuses: changing or deleting evidence.

In: a connection to either database. Out: triggers that let `records` and `blobs` only grow, and each head in `sources`
only move forward. Whoever owns the database can take triggers away: `verify` tells that, and what was done then.
"""

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa

_FORWARD: Final = "NEW.source = OLD.source AND NEW.seq > OLD.seq"
# a row that is the same in one of these is the same row: SQLite's INSERT OR REPLACE deletes it without asking
_SAME: Final = {
    "records": "id = NEW.id OR (source = NEW.source AND seq = NEW.seq)",
    "sources": "source = NEW.source",
    "blobs": "digest = NEW.digest",
}
_FUNCTION: Final = "BEGIN RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' only grows'; END"


def make_triggers(connection: sa.Connection) -> None:
    """Make the triggers, in place of those that are there."""
    if connection.dialect.name == "sqlite":
        for name, statement in _of_sqlite().items():
            connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name}")
            connection.exec_driver_sql(statement)
        return
    connection.exec_driver_sql(
        f"CREATE OR REPLACE FUNCTION only_grows() RETURNS trigger LANGUAGE plpgsql AS $${_FUNCTION}$$"
    )
    for name, (table, statement) in _of_postgresql().items():
        connection.exec_driver_sql(f"DROP TRIGGER IF EXISTS {name} ON {table}")
        connection.exec_driver_sql(statement)
        connection.exec_driver_sql(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")  # in replicas, too


def missing_triggers(connection: sa.Connection) -> list[str]:
    """Return the names of triggers that are not there, not switched on, or not as they were made."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        made = {row.name: row.sql for row in rows}
        return [name for name, statement in _of_sqlite().items() if made.get(name) != statement]
    works = connection.execute(
        sa.text(
            "SELECT tgname FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid "
            "WHERE tgenabled = 'A' AND tgrelid::regclass::text = ANY(:tables) AND prosrc = :source"
        ),
        {"tables": list(_SAME), "source": _FUNCTION},
    )
    return sorted(set(_of_postgresql()) - set(works.scalars()))


def _of_sqlite() -> Mapping[str, str]:
    statements: dict[str, str] = {}
    for table, same in _SAME.items():
        refuse = f"BEGIN SELECT RAISE(ABORT, '{table} only grows'); END"
        changed = f"WHEN NOT ({_FORWARD}) " if table == "sources" else ""
        there = f"EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608 - our own words alone
        statements |= {
            f"{table}_update": f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} {changed}{refuse}",
            f"{table}_delete": f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} {refuse}",
            f"{table}_replace": f"CREATE TRIGGER {table}_replace BEFORE INSERT ON {table} WHEN {there} {refuse}",
        }
    return statements


def _of_postgresql() -> Mapping[str, tuple[str, str]]:
    made: dict[str, tuple[str, str]] = {}
    for table in _SAME:
        changed = f"WHEN (NOT ({_FORWARD})) " if table == "sources" else ""
        for name, when in (
            (f"{table}_update", f"BEFORE UPDATE ON {table} FOR EACH ROW {changed}"),
            (f"{table}_delete", f"BEFORE DELETE ON {table} FOR EACH ROW "),
            (f"{table}_truncate", f"BEFORE TRUNCATE ON {table} FOR EACH STATEMENT "),
        ):
            made[name] = (table, f"CREATE TRIGGER {name} {when}EXECUTE FUNCTION only_grows()")
    return made
