"""Is a store what its sources sent and nothing else? Everything in it is looked at.

In: a store. Out: findings, one sentence each, none where all is well. Each record's hash is computed again, and the
seal over all; each blob is compared with its digest; the tables that pages read are made anew in a scratch database and
compared with those that are here, column by column. What was cut off at the very end, with the heads put back, only a
head that was kept elsewhere can show.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from server.store.append import Head
from server.store.database import COMPACT
from server.store.row_writer import Rows
from server.store.schema import METADATA, PROJECTED, RECORDS
from server.store.triggers import missing_triggers
from server.store.verification.blobs import check_blobs
from server.store.verification.chains import Walk
from server.store.verification.tables import compare_table


@dataclass(frozen=True)
class Verification:
    """What was looked at and found; `head` is the last record's number and seal, to be kept elsewhere."""

    num_records: int
    num_blobs: int
    head: Head
    findings: tuple[str, ...]


def verify(engine: sa.Engine, kept: Head | None = None) -> Verification:
    """Look at everything; `kept` is a head of this store that an earlier look told."""
    findings: list[str] = []
    walk, num_blobs = Walk(), 0
    try:
        with engine.connect() as connection, _scratch() as scratch:
            findings += _database(connection)
            for some in walk.records(connection):
                rows = Rows(scratch)
                for one in some:
                    one.project(rows)
                rows.flush()
            findings += walk.findings
            num_blobs, wrong = check_blobs(connection)
            findings += wrong
            findings += _kept(connection, kept)
            for table in PROJECTED:
                findings += compare_table(connection, scratch, table)
    except DBAPIError as error:
        findings.append(f"database: cannot be read to its end ({type(error).__name__})")
    return Verification(walk.number, num_blobs, Head(walk.number, walk.sealed), tuple(findings))


def _database(connection: sa.Connection) -> Iterator[str]:
    """Yield what the database itself says of its pages, and which triggers are missing."""
    if connection.dialect.name == "sqlite":
        told = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars()
        yield from (f"database: {line}" for line in told if line != "ok")
    for name in missing_triggers(connection):
        yield f"trigger {name}: is missing or changed, so evidence could be; rounds-hub store migrate makes it anew"


def _kept(connection: sa.Connection, kept: Head | None) -> Iterator[str]:
    """Yield whether a head that was kept elsewhere is no longer in the store."""
    if kept is None:
        return
    seal = connection.execute(sa.select(RECORDS.c.seal).where(RECORDS.c.id == kept.seq)).scalar_one_or_none()
    if seal != kept.chain:
        yield f"record number {kept.seq}: is not here with the seal that was kept; records were cut off or changed"


@contextmanager
def _scratch() -> Iterator[sa.Connection]:
    """Lend a database of its own with empty tables."""
    with tempfile.TemporaryDirectory(prefix="rounds-verify-") as folder:
        engine = sa.create_engine(f"sqlite:///{Path(folder) / 'scratch.sqlite'}", json_serializer=COMPACT)
        try:
            with engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA synchronous=OFF")  # nobody will miss it
                connection.exec_driver_sql("PRAGMA journal_mode=OFF")
                METADATA.create_all(connection)
                yield connection
        finally:
            engine.dispose()
