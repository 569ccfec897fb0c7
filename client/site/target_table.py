"""The file of the cache of teacher targets: how it is opened, and which of its rows have to go.

In: which studies are approved, and names of forgotten patients. Out: a purged file. It holds sealed rows under keyed
names; nothing of it may leave the hospital.
"""

import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

_VERSION = 2
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS targets (name TEXT PRIMARY KEY, patient TEXT NOT NULL, sealed BLOB NOT NULL)",
    """CREATE TABLE IF NOT EXISTS uses (
        name TEXT NOT NULL, study TEXT NOT NULL, expires TEXT NOT NULL, PRIMARY KEY (name, study)
    )""",
    f"PRAGMA user_version = {_VERSION}",
)


def open_table(path: Path) -> sqlite3.Connection:
    """Open the file; what is deleted is overwritten, and a file of another format is begun anew."""
    database = sqlite3.connect(path, timeout=60)
    database.execute("PRAGMA secure_delete = ON")
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version != _VERSION:
        database.execute("DROP TABLE IF EXISTS targets")
    for statement in _SCHEMA:
        database.execute(statement)
    return database


def purge_targets(path: Path, is_approved: Callable[[str], bool], forgotten: Iterable[str]) -> int:
    """Delete rows that no approved study before its end uses, and all of forgotten patients; returns their number.

    `forgotten` holds names as `client.site.withdrawn_patients.forgotten_name` makes them.
    """
    today = datetime.now(UTC).date().isoformat()
    with closing(open_table(path)) as database, database:
        (before,) = database.execute("SELECT count(*) FROM targets").fetchone()
        studies = database.execute("SELECT DISTINCT study, expires FROM uses").fetchall()
        for study, expires in studies:
            if expires < today or not is_approved(study):
                database.execute("DELETE FROM uses WHERE study = ?", (study,))
        database.executemany("DELETE FROM targets WHERE patient = ?", [(name,) for name in forgotten])
        database.execute("DELETE FROM targets WHERE name NOT IN (SELECT name FROM uses)")
        database.execute("DELETE FROM uses WHERE name NOT IN (SELECT name FROM targets)")
        (after,) = database.execute("SELECT count(*) FROM targets").fetchone()
    return int(before - after)
