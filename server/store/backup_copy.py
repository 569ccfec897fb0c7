"""A copy of an SQLite store without its blobs, for a backup: they come back from the outboxes of the runs.

In: the path of a store, which may be written to meanwhile. Out: the bytes of a whole database as of one moment, with
every record, account and trigger. A person's decision stands nowhere else.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

_LEFT_OUT = "blobs"


def bytes_without_blobs(path: Path) -> bytes:
    """Return the copy."""
    with closing(sqlite3.connect(":memory:", uri=True, isolation_level=None)) as copy:
        copy.execute("ATTACH ? AS live", (f"file:{path}?mode=ro",))
        copy.execute("BEGIN")
        made = copy.execute(
            "SELECT type, name, sql FROM live.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
            "ORDER BY type != 'table'"  # rows before the triggers that would look at them
        ).fetchall()
        tables = [name for kind, name, _ in made if kind == "table"]
        for _, _, statement in made[: len(tables)]:
            copy.execute(statement)
        for name in tables:
            if name != _LEFT_OUT:
                copy.execute(f'INSERT INTO main."{name}" SELECT * FROM live."{name}"')  # noqa: S608 - our own tables
        for _, _, statement in made[len(tables) :]:
            copy.execute(statement)
        copy.execute("COMMIT")
        copy.execute("DETACH live")
        return copy.serialize()
