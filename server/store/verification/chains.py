"""Walking all records of a store in their order: what does not follow the one before is told.

In: a connection. Out: the records that can be read, for the tables to be made from, and findings: a sentence for each
that cannot be read, does not follow or is not sealed, for each gap, and for each head that is not its chain's.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from server.store.append import Head
from server.store.chain import GENESIS, Record, follows, seal
from server.store.projections import project
from server.store.row_writer import Rows
from server.store.schema import BLOBS, RECORDS, SOURCES
from server.store.verification.raw_rows import Row, moment, raw_rows

_AT_ONCE: Final = 500
_COLUMNS: Final = tuple(RECORDS.c)
_PLAIN: Final = tuple(name for name in Record.model_fields if name != "time")
_NAMES: Final = tuple(column.name for column in _COLUMNS)


@dataclass(frozen=True)
class Checked:
    """A record whose body could be read."""

    number: int
    source: str
    record: Record
    body: Any

    def project(self, rows: Rows) -> None:
        """Say what the tables hold of it."""
        project(rows, self.number, self.source, self.record, self.body)


@dataclass
class Walk:
    """One walk over a store: how far it is, each source's head so far, and what was found."""

    number: int = 0
    sealed: str = GENESIS
    heads: dict[str, Head] = field(default_factory=dict)
    received: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def records(self, connection: sa.Connection) -> Iterator[list[Checked]]:
        """Yield the records that can be read, some at a time; afterwards the heads are compared."""
        told = (BLOBS.c.digest, BLOBS.c.media_type, BLOBS.c.num_bytes)
        kinds = {row[0]: row for row in raw_rows(connection, told)}
        some: list[Checked] = []
        for row in raw_rows(connection, _COLUMNS, RECORDS.c.id):
            some += self._step(dict(zip(_NAMES, row, strict=True)), kinds)
            if len(some) >= _AT_ONCE:
                yield some
                some = []
        yield some
        self._check_heads(connection)

    def _step(self, row: dict[str, Any], kinds: dict[Any, Row]) -> Iterator[Checked]:
        number, source = row["id"], row["source"]
        which = f"record {row['seq']} of {source}"
        if number != self.number + 1:
            self.findings.append(f"records: number {self.number + 1} is missing, {number} comes next")
        seq = row["seq"] if isinstance(row["seq"], int) else 0
        before, self.heads[source] = self.heads.get(source, Head()), Head(seq, row["chain"])
        sealed, self.number, self.sealed = self.sealed, number, row["seal"]
        self.received[source] = row["received"]
        try:
            record = Record(**{name: row[name] for name in _PLAIN}, time=moment(row["time"]))
            body = record.read()
        except ValueError:
            self.findings.append(f"{which}: cannot be read")
            return
        if record.seq != before.seq + 1:
            self.findings.append(f"{which}: record {before.seq + 1} is missing before it")
        elif not follows(before.chain, record):
            self.findings.append(f"{which}: its hash is not that of its content and of the records before it")
        missing = [digest for digest in body.named_blobs if digest not in kinds]
        if missing:
            self.findings.append(f"{which}: names blob {missing[0][:12]}, which is not here")
        elif not _is_sealed(sealed, row, [kinds[digest] for digest in body.named_blobs]):
            self.findings.append(
                f"{which}: is not sealed as number {number}; its source, order, arrival or a blob's kind changed"
            )
        yield Checked(number, source, record, body)

    def _check_heads(self, connection: sa.Connection) -> None:
        stated = {row[0]: row[1:] for row in raw_rows(connection, tuple(SOURCES.c))}
        walked = {
            source: (head.seq, head.chain, self.received[source]) for source, head in self.heads.items()
        }
        for source in sorted(stated.keys() | walked.keys(), key=str):
            if stated.get(source) != walked.get(source):
                self.findings.append(f"source {source}: its head is not its last record")


def _is_sealed(before: str, row: dict[str, Any], blobs: list[Row]) -> bool:
    try:
        received = moment(row["received"])
    except ValueError:
        return False
    return seal(before, row["id"], row["source"], row["chain"], received, blobs) == str(row["seal"])
