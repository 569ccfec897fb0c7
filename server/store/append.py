"""Appending records: all of a batch in order, or nothing, and the same batch twice is the same as once.

In: batches of one source's chain. Out: the head of that chain here. What cannot follow is refused by its own error.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from server.store.chain import GENESIS, Record, follows, link
from server.store.database import writing
from server.store.projections import project
from server.store.records import Body
from server.store.schema import RECORDS, SOURCES
from shared.errors import ChainConflictError, ChainGapError, StoreError


@dataclass(frozen=True)
class Head:
    """The last record of a source: its number, 0 before the first, and its hash."""

    seq: int = 0
    chain: str = GENESIS


def head_of(connection: sa.Connection, source: str) -> Head:
    """Return the head of a source's chain; the row stays locked until the transaction ends."""
    row = connection.execute(
        sa.select(SOURCES.c.seq, SOURCES.c.chain).where(SOURCES.c.source == source).with_for_update()
    ).one_or_none()
    return Head() if row is None else Head(*row)


def append_batch(engine: sa.Engine, source: str, batch: Sequence[Record]) -> Head:
    """Append the records of a batch that are new, in one transaction; returns the head.

    `ChainGapError` where records before them are missing, `ChainConflictError` where one differs from what stands
    here or its hash is not that of its content, `StoreError` where a body has no known form.
    """
    with writing(engine).begin() as connection:
        head = head_of(connection, source)
        for record in batch:
            if record.seq <= head.seq:
                _check_known(connection, source, record)
                continue
            if record.seq != head.seq + 1:
                raise ChainGapError(
                    f"record {record.seq} of {source}: record {head.seq + 1} comes first; send it"
                )
            if not follows(head.chain, record):
                raise ChainConflictError(
                    f"record {record.seq} of {source}: its hash is not that of its content"
                )
            head = _insert(connection, source, record)
        return head


def append_own(connection: sa.Connection, source: str, study_uid: str, body: Body) -> Record:
    """Append what this process itself has to say, such as a decision, within the transaction of its effects."""
    head = head_of(connection, source)
    record = link(head.chain, head.seq + 1, study_uid, body)
    _insert(connection, source, record)
    return record


def _insert(connection: sa.Connection, source: str, record: Record) -> Head:
    try:
        body = record.read()
    except ValidationError as error:
        raise StoreError(
            f"record {record.seq} of {source}: has no known form; hub and study must run one version"
        ) from error
    now = datetime.now(UTC)
    values: dict[str, Any] = record.model_dump() | {"source": source, "received": now}
    number = int(connection.execute(sa.insert(RECORDS).values(values).returning(RECORDS.c.id)).scalar_one())
    fresh = {"seq": record.seq, "chain": record.chain, "last_received": now}
    if record.seq == 1:
        connection.execute(sa.insert(SOURCES).values(source=source, **fresh))
    else:
        connection.execute(sa.update(SOURCES).where(SOURCES.c.source == source).values(fresh))
    project(connection, number, source, record, body)
    return Head(record.seq, record.chain)


def _check_known(connection: sa.Connection, source: str, record: Record) -> None:
    """Accept silently what stands here already, with the same hash."""
    chain = connection.execute(
        sa.select(RECORDS.c.chain).where(RECORDS.c.source == source, RECORDS.c.seq == record.seq)
    ).scalar_one()
    if chain != record.chain:
        raise ChainConflictError(f"record {record.seq} of {source}: another one stands here already")
