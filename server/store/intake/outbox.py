"""The sender's side: records that a study process, its audit or its report wrote, kept until the store has them all.

In: bodies and the blobs that they name. Out: one SQLite file in the run's folder, a chain of records. Nothing is ever
deleted: a store that was lost is filled again from here. What no store would take is refused while it is written.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from server.store.append import Head
from server.store.blobs import Blob, checked
from server.store.chain import GENESIS, Record, link
from server.store.record_kinds import Body
from shared.errors import StoreError

__all__ = ["FILE", "Blob", "Outbox"]

FILE: Final = "outbox.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, study_uid TEXT NOT NULL, kind TEXT NOT NULL, time TEXT NOT NULL,
    body TEXT NOT NULL, chain TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS blobs (digest TEXT PRIMARY KEY, media_type TEXT NOT NULL, content BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS batches (study_uid TEXT, name TEXT, PRIMARY KEY (study_uid, name)) STRICT;
"""


class Outbox:
    """One run's records; several processes may write, one after the other."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def add(self, study_uid: str, *bodies: Body, blobs: Sequence[Blob] = (), batch: str = "") -> None:
        """Write records, and blobs that they name, in one durable transaction; a batch with a name only once.

        `StoreError` for a blob that no store takes, or a named one that is not here: the chain would stop at it.
        """
        for blob in blobs:
            checked(blob)
        with self._open() as database:
            database.execute("BEGIN IMMEDIATE")
            if batch and _is_known(database, study_uid, batch):
                database.execute("ROLLBACK")
                return
            database.executemany(
                "INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)",
                [(blob.digest, blob.media_type, blob.content) for blob in blobs],
            )
            head = _head(database)
            for body in bodies:
                _require_blobs(database, body)
                record = link(head.chain, head.seq + 1, study_uid, body)
                database.execute(
                    "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?)",
                    (record.seq, study_uid, record.kind, record.time.isoformat(), record.body, record.chain),
                )
                head = Head(record.seq, record.chain)
            database.execute("COMMIT")

    def has(self, study_uid: str, batch: str) -> bool:
        """Tell whether a named batch is written."""
        query = "SELECT 1 FROM batches WHERE study_uid = ? AND name = ?"
        with self._open() as database:
            return database.execute(query, (study_uid, batch)).fetchone() is not None

    def head(self) -> Head:
        """Return the last record's number and hash."""
        with self._open() as database:
            return _head(database)

    def after(self, seq: int, limit: int) -> list[Record]:
        """Return up to `limit` records that follow number `seq`, in order."""
        with self._open() as database:
            rows = database.execute(
                "SELECT seq, study_uid, kind, time, body, chain FROM records WHERE seq > ? ORDER BY seq LIMIT ?",
                (seq, limit),
            ).fetchall()
        return [
            Record(seq=row[0], study_uid=row[1], kind=row[2], time=datetime.fromisoformat(row[3]), body=row[4],
                   chain=row[5])
            for row in rows
        ]  # fmt: skip

    def bodies(self, study_uid: str, kinds: Sequence[str]) -> list[str]:
        """Return the bodies of a study's records of these kinds, as JSON, in order."""
        marks = ", ".join("?" * len(kinds))
        with self._open() as database:
            rows = database.execute(
                f"SELECT body FROM records WHERE study_uid = ? AND kind IN ({marks}) ORDER BY seq",  # noqa: S608 - question marks alone
                (study_uid, *kinds),
            )
            return [row[0] for row in rows]

    def blob_digests(self) -> list[str]:
        """Return the digests of all blobs, in the order of their writing."""
        with self._open() as database:
            return [row[0] for row in database.execute("SELECT digest FROM blobs ORDER BY rowid")]

    def blob(self, digest: str) -> Blob | None:
        """Return one blob."""
        with self._open() as database:
            row = database.execute(
                "SELECT content, media_type FROM blobs WHERE digest = ?", (digest,)
            ).fetchone()
        return None if row is None else Blob(*row)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        if not os.access(
            self.path.parent, os.W_OK
        ):  # results that were mounted to be read: nobody writes there
            address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
            with closing(sqlite3.connect(address, uri=True)) as database:
                yield database
            return
        with closing(sqlite3.connect(self.path, isolation_level=None, timeout=30)) as database:
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            database.executescript(_SCHEMA)
            yield database


def _is_known(database: sqlite3.Connection, study_uid: str, batch: str) -> bool:
    """Note that a batch is written; whether it was before."""
    cursor = database.execute("INSERT OR IGNORE INTO batches VALUES (?, ?)", (study_uid, batch))
    return cursor.rowcount == 0


def _require_blobs(database: sqlite3.Connection, body: Body) -> None:
    for digest in body.named_blobs:
        if database.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is None:
            raise StoreError(f"blob {digest[:12]}: is named by a record and was not given with it; give it")


def _head(database: sqlite3.Connection) -> Head:
    row = database.execute("SELECT seq, chain FROM records ORDER BY seq DESC LIMIT 1").fetchone()
    return Head(0, GENESIS) if row is None else Head(*row)
