"""Blobs: bytes that records name by their SHA-256, such as films and weights.

In: content with its media type. Out: rows that are written once and checked when they are read. Blobs are put before
the records that name them.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from server.store.schema import BLOBS
from shared.errors import StoreError

# media types that the store keeps, with the most bytes of each; a page serves a blob under its type, so that none that
# a browser would run is here but a report, which has a content security policy of its own
LIMITS: Final = {
    "image/png": 8 * 2**20,
    "application/json": 32 * 2**20,
    "text/csv": 32 * 2**20,
    "text/html": 64 * 2**20,
    "application/octet-stream": 512 * 2**20,
}
_AT_ONCE: Final = 500  # variables in one statement: SQLite's older limit is 999


@dataclass(frozen=True)
class Blob:
    """Bytes that records name by their SHA-256: a film, weights."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """SHA-256 of the content, in hex."""
        return hashlib.sha256(self.content).hexdigest()


def checked(blob: Blob) -> Blob:
    """Return a blob that the store takes; `StoreError` for another media type or too many bytes."""
    most = LIMITS.get(blob.media_type)
    if most is None:
        raise StoreError(
            f"media_type is {blob.media_type!r}, allowed are {', '.join(LIMITS)}; send it as one of these"
        )
    if len(blob.content) > most:
        raise StoreError(
            f"blob {blob.digest[:12]}: has {len(blob.content)} bytes, allowed are {most} of {blob.media_type}; "
            "send a smaller one"
        )
    return blob


def blob_kinds(connection: sa.Connection, digests: Iterable[str]) -> dict[str, tuple[str, str, int]]:
    """Return (digest, media type, number of bytes) of each of these blobs that is here."""
    wanted = list(dict.fromkeys(digests))
    found: dict[str, tuple[str, str, int]] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        rows = connection.execute(
            sa.select(BLOBS.c.digest, BLOBS.c.media_type, BLOBS.c.num_bytes).where(BLOBS.c.digest.in_(some))
        )
        found |= {digest: (digest, media_type, num_bytes) for digest, media_type, num_bytes in rows}
    return found


def missing_blobs(connection: sa.Connection, digests: Sequence[str]) -> list[str]:
    """Return the digests of which no blob is here, in their order."""
    known = blob_kinds(connection, digests)
    return [digest for digest in digests if digest not in known]


def put_blobs(connection: sa.Connection, blobs: Iterable[Blob]) -> int:
    """Keep the blobs that are not here yet, within a writing transaction; returns how many were new."""
    by_digest = {blob.digest: checked(blob) for blob in blobs}
    new = missing_blobs(connection, list(by_digest))
    rows = [
        {"digest": digest, "media_type": blob.media_type, "num_bytes": len(blob.content), "content": blob.content}
        for digest in new
        for blob in [by_digest[digest]]
    ]  # fmt: skip
    if rows:
        connection.execute(sa.insert(BLOBS), rows)
    return len(rows)


def get_blob(connection: sa.Connection, digest: str) -> Blob | None:
    """Return a blob, None where there is none; `StoreError` where its bytes are no longer those of its digest."""
    row = connection.execute(
        sa.select(BLOBS.c.content, BLOBS.c.media_type).where(BLOBS.c.digest == digest)
    ).one_or_none()
    if row is None:
        return None
    blob = Blob(*row)
    if blob.digest != digest:
        raise StoreError(
            f"blob {digest[:12]}: its bytes are not those of its digest; run rounds-hub store verify"
        )
    return blob
