"""A new head file for a ledger whose head file was lost with its volume.

In: the ledger, and a head that somebody else remembers (a report, or the hub). Out: a head file that knows every row.
It shows as much as the remembered head does: rows that were written after that head, and cut since, are not noticed.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

from client.ledger.ledger import Ledger
from client.ledger.ledger_schema import read_rows
from shared.errors import LedgerError
from shared.trust.private_files import private_folder, write_file


def make_head_file(ledger: Path, head_file: Path, seq: int, digest: str) -> tuple[int, int]:
    """Write a lost head file anew; returns (rows of the ledger, rows after the remembered one).

    `LedgerError` where a head file is there, where the remembered head is that of no row, and where the ledger is
    not whole or lacks the row.
    """
    if head_file.exists():
        raise LedgerError(
            f"head_file {head_file}: is there; a head file is never replaced, it knows what was spent"
        )
    if seq < 1:
        raise LedgerError(
            "--head is that of an empty ledger, which every ledger has; take it from the newest report"
        )
    private_folder(head_file.parent)
    part = write_file(head_file.with_name(f"{head_file.name}.new"), _heads(ledger), replace=True)
    try:
        with Ledger.open(ledger, part) as opened:
            number = opened.verify()
            opened.require_head(seq, digest)
        part.replace(head_file)
    finally:
        part.unlink(missing_ok=True)
    return number, number - seq


def _heads(ledger: Path) -> bytes:
    try:
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
            rows = read_rows(database)
    except sqlite3.Error as error:
        raise LedgerError(f"ledger {ledger}: {error}; put back the newest ledger") from error
    return "".join(f"{row.seq} {row.hash}\n" for row in rows).encode("ascii")
