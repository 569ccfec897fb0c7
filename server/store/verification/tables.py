"""Whether the tables that pages read hold what the records say.

In: one table here, and the same made anew in a scratch database. Out: a sentence for each record whose rows differ.
"""

import hashlib
from collections import Counter
from typing import Any, Final

import sqlalchemy as sa

from server.store.verification.raw_rows import raw_rows

_TOLD: Final = 10  # findings of one table, before the rest is only counted


def compare_table(here: sa.Connection, anew: sa.Connection, table: sa.Table) -> list[str]:
    """Compare all rows, whatever their order, by all columns; only hashes of rows are held in memory."""
    expected = _rows(anew, table)
    differing: dict[Any, None] = {}
    for row, times in _rows(here, table).items():
        if expected.pop(row, 0) != times:
            differing[row[0]] = None
    differing |= dict.fromkeys(record for record, _ in expected)
    findings = [
        f"table {table.name}: its rows from record number {record} are not what that record says"
        for record in list(differing)[:_TOLD]
    ]
    if len(differing) > _TOLD:
        findings.append(f"table {table.name}: so are those from {len(differing) - _TOLD} more records")
    return findings


def _rows(connection: sa.Connection, table: sa.Table) -> Counter[tuple[Any, bytes]]:
    """Count equal rows: (the record that it was made from, hash of all columns)."""
    columns = tuple(table.c)
    place = columns.index(table.c.record)
    return Counter(
        (row[place], hashlib.sha256(repr(row).encode("utf-8", "surrogatepass")).digest())
        for row in raw_rows(connection, columns)
    )
