"""How the ledger's file is kept: one writer at a time, durable, append-only, each row chained to the last.

In: rows and reply bytes. Out: the same, checked. Nothing of it leaves the hospital but replies, by the door.
"""

import fcntl
import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, replace
from pathlib import Path

from client.ledger.head_file import HeadFile
from client.ledger.ledger_schema import GENESIS, INSERT, SCHEMA, VERSION, Row, RowKind, read_rows
from shared.errors import LedgerError
from shared.whole_file import sync_folder


class LedgerFile:
    """A SQLite file with its head file; every read and write checks the whole chain."""

    def __init__(self, path: Path, head_file: Path) -> None:
        self.path = path
        self._head = HeadFile(head_file)
        with self._translated():
            path.parent.mkdir(parents=True, exist_ok=True)
        with self._translated(), self._locked():
            if not path.exists():
                self._head.agree([])  # lines in the head file say that a ledger is missing here
            self._database = sqlite3.connect(path, isolation_level=None, timeout=60)
            try:
                self._prepare()
                self._checked_rows()
            except BaseException:
                self._database.close()
                raise
            sync_folder(path.parent)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def rows(self) -> list[Row]:
        """Return all rows in order, their chain and heads checked."""
        with self._translated(), self._locked():
            return self._checked_rows()

    @contextmanager
    def writing(self) -> Iterator[list[Row]]:
        """Hold lock and transaction; yield the rows. On leaving, all is durable or nothing changed."""
        with self._translated(), self._locked():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                rows = self._checked_rows()
                yield rows
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise
            self._head.agree([row.hash for row in rows])

    def append(
        self,
        rows: list[Row],
        kind: RowKind,
        key: tuple[str, int, str],
        *,
        base_digest: str,
        partition: str,
        mechanism: str | None = None,
        reply_digest: str | None = None,
    ) -> Row:
        """Add one row to the chain inside `writing`, and to `rows`."""
        previous = rows[-1].hash if rows else GENESIS
        row = Row(
            len(rows) + 1, kind, *key, base_digest, partition, mechanism, reply_digest, previous, hash=""
        )
        row = replace(row, hash=row.computed_hash())
        self._database.execute(INSERT, astuple(row))
        rows.append(row)
        return row

    def store(self, row: Row, reply: bytes) -> None:
        """Keep a reply beside its row, in the same transaction."""
        self._database.execute("INSERT INTO replies (seq, bytes) VALUES (?, ?)", (row.seq, reply))

    def stored(self, row: Row) -> bytes:
        """Return the reply of a commit row; `LedgerError` unless it has the row's digest."""
        found = self._database.execute("SELECT bytes FROM replies WHERE seq = ?", (row.seq,)).fetchone()
        if found is None or sha256(found[0]) != row.reply_digest:
            raise LedgerError(
                f"ledger row {row.seq}: its reply is missing or changed; put back the newest ledger"
            )
        return bytes(found[0])

    def verify(self) -> int:
        """Recompute every hash, reply and head; return the number of rows."""
        with self._translated(), self._locked():
            rows = self._checked_rows()
            for row in rows:
                if row.kind == "commit":
                    self.stored(row)
        return len(rows)

    def _prepare(self) -> None:
        # EXTRA is FULL and the folder too: a power cut must not bring back a committed transaction's journal
        for pragma in ("journal_mode = DELETE", "synchronous = EXTRA", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute("PRAGMA recursive_triggers = ON")  # else REPLACE deletes without the trigger
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        if version not in {0, VERSION}:
            raise LedgerError(
                f"ledger {self.path}: has format {version}, allowed is {VERSION}; use its own program"
            )
        self._database.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            self._database.execute(statement)
        self._database.execute("COMMIT")

    def _checked_rows(self) -> list[Row]:
        rows = read_rows(self._database)
        previous = GENESIS
        for seq, row in enumerate(rows, start=1):
            if (row.seq, row.previous, row.hash) != (seq, previous, row.computed_hash()):
                raise LedgerError(
                    f"ledger {self.path}: row {seq} is missing, moved or edited; put back the newest ledger "
                    "and let nobody else write to it"
                )
            previous = row.hash
        self._head.agree([row.hash for row in rows])
        return rows

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the site's lock: from the spend so far to the new row no other process may come between."""
        with self.path.with_name(self.path.name + ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # closing the file lets it go, and so does the process's end
            yield

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise LedgerError(
                f"ledger {self.path}: {error}; check disk and rights, put back the newest ledger if damaged"
            ) from error


def sha256(data: bytes) -> str:
    """Return the SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()
