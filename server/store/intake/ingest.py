"""Taking what run folders of this machine hold into a store: blobs first, then records, batch by batch.

In: a store, and outboxes. Out: how many records were new; nothing is written to an outbox. What does not fit to what
the store has is an incident, on record once, and the other outboxes go on.
"""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from server.store.append import Head, append_batch, head_of
from server.store.blobs import Blob, missing_blobs, put_blobs
from server.store.incidents import record_incident
from server.store.intake.outbox import FILE, Outbox
from server.store.schema import RECORDS, SOURCES
from server.store.transactions import writing
from shared.errors import ChainConflictError, StoreError

_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 8 * 2**20


def ingest(engine: sa.Engine, outbox: Outbox, source: str) -> int:
    """Append what the store does not have yet; returns the number of new records.

    `StoreError` where they do not fit: an incident says so, and what fitted before stays.
    """
    new, uid = 0, ""
    try:
        with engine.connect() as connection:
            source = _known_as(connection, outbox) or source
            head = head_of(connection, source)
        _check_ours(outbox, source, head)
        while batch := outbox.after(head.seq, _AT_ONCE):
            uid = batch[0].study_uid
            _bring_blobs(engine, outbox)  # those of the batch were written with it
            before, head = head, append_batch(engine, source, batch)
            new += head.seq - before.seq
    except sqlite3.Error as error:
        told = StoreError(f"{FILE}: cannot be read as an outbox ({type(error).__name__})")
        record_incident(engine, source, uid, str(told))
        raise told from error
    except StoreError as error:
        record_incident(engine, source, uid, str(error))
        raise
    return new


def ingest_all(engine: sa.Engine, path: Path) -> int:
    """Ingest every outbox of a run folder, or of a folder of run folders; one that does not fit holds up no other."""
    new = 0
    for source, outbox in find_outboxes(path):
        try:
            new += ingest(engine, outbox, source)
        except StoreError:
            continue  # on record as an incident
    return new


def find_outboxes(path: Path) -> list[tuple[str, Outbox]]:
    """Return the outboxes of a run folder, or of a folder of run folders, each with its source's name.

    A folder that has several names, as the newest run has `latest`, is one source. `StoreError` where no folder is.
    """
    if not path.is_dir():
        raise StoreError(
            f"results: {str(path)!r} is no folder; give a run's folder or the folder of all runs"
        )
    folders = [path, *sorted(one for one in path.iterdir() if one.is_dir())]
    real = dict.fromkeys(folder.resolve() for folder in folders if (folder / FILE).is_file())
    return [(f"run:{folder.name}", Outbox(folder)) for folder in real]


def _known_as(connection: sa.Connection, outbox: Outbox) -> str | None:
    """Return the source under which the store has this chain already: a run folder may have been renamed."""
    firsts = sa.join(SOURCES, RECORDS, (RECORDS.c.source == SOURCES.c.source) & (RECORDS.c.seq == 1))
    query = sa.select(RECORDS.c.source).select_from(firsts).limit(1)
    for first in outbox.after(0, 1):
        return connection.execute(query.where(RECORDS.c.chain == first.chain)).scalar_one_or_none()
    return None


def _check_ours(outbox: Outbox, source: str, head: Head) -> None:
    """Refuse an outbox that does not hold the last record that the store has of it."""
    if head.seq == 0:
        return
    here = next(iter(outbox.after(head.seq - 1, 1)), None)
    if here is None:
        raise ChainConflictError(
            f"record {head.seq} of {source}: stands in the store and not in the outbox, which ends with record "
            f"{outbox.head().seq}; was it put back from a copy?"
        )
    if here.chain != head.chain:
        raise ChainConflictError(f"record {head.seq} of {source}: another one stands in the store")


def _bring_blobs(engine: sa.Engine, outbox: Outbox) -> None:
    with engine.connect() as connection:
        missing = missing_blobs(connection, outbox.blob_digests())
    for some in _parts(outbox, missing):
        with writing(engine).begin() as connection:
            put_blobs(connection, some)


def _parts(outbox: Outbox, digests: list[str]) -> Iterator[list[Blob]]:
    """Yield blobs, as many at once as fit into little memory: a commit waits for the disk, and weights are large."""
    some: list[Blob] = []
    size = 0
    for blob in filter(None, map(outbox.blob, digests)):
        some.append(blob)
        size += len(blob.content)
        if size > _BYTES_AT_ONCE:
            yield some
            some, size = [], 0
    yield some
