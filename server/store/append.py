"""Appending records: all of a batch in order, or nothing, and the same batch twice is the same as once.

In: batches of one source's chain. Out: the head of that chain here. What cannot follow is refused by its own error.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from pydantic import ValidationError

from server.store.blobs import blob_kinds
from server.store.chain import GENESIS, Record, follows, link, seal
from server.store.database import writing
from server.store.projections import project
from server.store.record_kinds import OWN, Body
from server.store.row_writer import Rows
from server.store.schema import RECORDS, SOURCES
from shared.errors import BlobMissingError, ChainConflictError, ChainGapError, ForeignStudyError, StoreError

OWN_SOURCES: Final = ("people", "store", "feed")  # the hub's own, which may speak of every study


@dataclass(frozen=True)
class Head:
    """The last record of a source: its number, 0 before the first, and its hash."""

    seq: int = 0
    chain: str = GENESIS


@dataclass(frozen=True)
class _New:
    """A record that is to be written, with its body."""

    record: Record
    body: Any


def head_of(connection: sa.Connection, source: str) -> Head:
    """Return the head of a source's chain; in a writing transaction it stays the head until that ends."""
    row = connection.execute(
        sa.select(SOURCES.c.seq, SOURCES.c.chain).where(SOURCES.c.source == source)
    ).one_or_none()
    return Head() if row is None else Head(*row)


def append_batch(engine: sa.Engine, source: str, batch: Sequence[Record]) -> Head:
    """Append the records of a batch that are new, in one transaction; returns the head.

    `ChainGapError` where records before them are missing, `ChainConflictError` where one differs from what stands
    here or its hash is not that of its content, `BlobMissingError` where one names a blob that is not here,
    `ForeignStudyError` where its study is another source's, and `StoreError` where a body has no known form or is not
    this source's to send.
    """
    with writing(engine).begin() as connection:
        head = head_of(connection, source)
        _check_known(connection, source, [one for one in batch if one.seq <= head.seq])
        new = [_New(one, _read(source, one)) for one in _following(source, head, batch)]
        _check_theirs(connection, source, new)
        return _write(connection, source, new) if new else head


def append_own(connection: sa.Connection, source: str, study_uid: str, body: Body) -> Record:
    """Append what this process itself has to say, such as a decision, within the transaction of its effects."""
    head = head_of(connection, source)
    record = link(head.chain, head.seq + 1, study_uid, body)
    _write(connection, source, [_New(record, _read(source, record))])
    return record


def _following(source: str, head: Head, batch: Iterable[Record]) -> list[Record]:
    """Return the records after the head, having checked that each follows the one before."""
    found: list[Record] = []
    for record in batch:
        if record.seq <= head.seq and not found:
            continue
        if record.seq != head.seq + 1:
            raise ChainGapError(
                f"record {record.seq} of {source}: record {head.seq + 1} comes first; send it"
            )
        if not follows(head.chain, record):
            raise ChainConflictError(f"record {record.seq} of {source}: its hash is not that of its content")
        head = Head(record.seq, record.chain)
        found.append(record)
    return found


def _check_known(connection: sa.Connection, source: str, known: Sequence[Record]) -> None:
    """Accept silently what stands here already, with the same hash."""
    if not known:
        return
    first, last = min(one.seq for one in known), max(one.seq for one in known)
    here = connection.execute(
        sa.select(RECORDS.c.seq, RECORDS.c.chain).where(
            RECORDS.c.source == source, RECORDS.c.seq.between(first, last)
        )
    )
    chains = dict(here.all())
    for record in known:
        if chains.get(record.seq) != record.chain:
            raise ChainConflictError(f"record {record.seq} of {source}: another one stands here already")


def _read(source: str, record: Record) -> Any:
    try:
        return record.read()
    except ValidationError as error:
        raise StoreError(
            f"record {record.seq} of {source}: has no known form; hub and study must run one version"
        ) from error


def _check_theirs(connection: sa.Connection, source: str, new: Sequence[_New]) -> None:
    """Refuse what only the hub itself may say, and word of a study that another source has told of."""
    for one in new:
        if one.record.kind in OWN:
            raise StoreError(
                f"record {one.record.seq} of {source}: is a {one.record.kind}, which only the hub records; leave it out"
            )
    for uid in {one.record.study_uid for one in new} - {""}:
        owner = connection.execute(
            sa.select(RECORDS.c.source)
            .where(RECORDS.c.study_uid == uid, RECORDS.c.source.not_in((source, *OWN_SOURCES)))
            .limit(1)
        ).scalar_one_or_none()
        if owner is not None:
            seq = next(one.record.seq for one in new if one.record.study_uid == uid)
            raise ForeignStudyError(
                f"record {seq} of {source}: is of study {uid}, which {owner} has told of; send it under that name"
            )


def _write(connection: sa.Connection, source: str, new: Sequence[_New]) -> Head:
    """Write records, the source's head and what the tables say; their numbers go on from the store's last."""
    last = connection.execute(
        sa.select(RECORDS.c.id, RECORDS.c.seal).order_by(RECORDS.c.id.desc()).limit(1)
    ).one_or_none()
    number, sealed = (0, GENESIS) if last is None else last
    kinds = _blobs_of(connection, source, new)
    now = datetime.now(UTC)
    rows, tables = [], Rows(connection)
    for one in new:
        number += 1
        blobs = [kinds[digest] for digest in one.body.named_blobs]
        sealed = seal(sealed, number, source, one.record.chain, now, blobs)
        rows.append(
            one.record.model_dump() | {"id": number, "source": source, "received": now, "seal": sealed}
        )
        project(tables, number, source, one.record, one.body)
    connection.execute(sa.insert(RECORDS), rows)
    tables.flush()
    head = Head(new[-1].record.seq, new[-1].record.chain)
    fresh = {"seq": head.seq, "chain": head.chain, "last_received": now}
    if new[0].record.seq == 1:
        connection.execute(sa.insert(SOURCES).values(source=source, **fresh))
    else:
        connection.execute(sa.update(SOURCES).where(SOURCES.c.source == source).values(fresh))
    return head


def _blobs_of(connection: sa.Connection, source: str, new: Sequence[_New]) -> dict[str, Any]:
    """Return what is sealed of each blob that the records name; `BlobMissingError` for the first that is not here."""
    kinds = blob_kinds(connection, {digest for one in new for digest in one.body.named_blobs})
    for one in new:
        for digest in one.body.named_blobs:
            if digest not in kinds:
                raise BlobMissingError(
                    f"record {one.record.seq} of {source}: names blob {digest[:12]}, which is not here; send it first"
                )
    return kinds
