"""Whether blobs are the bytes that their digests name.

In: a connection. Out: how many there are, and a sentence for each that is not.
"""

import hashlib

import sqlalchemy as sa

from server.store.blobs import LIMITS
from server.store.schema import BLOBS
from server.store.verification.raw_rows import raw_rows


def check_blobs(connection: sa.Connection) -> tuple[int, list[str]]:
    """Return the number of blobs and what is wrong with them; one is held in memory at a time."""
    findings = []
    stated = list(raw_rows(connection, [BLOBS.c.digest, BLOBS.c.media_type, BLOBS.c.num_bytes]))
    for digest, media_type, num_bytes in stated:
        content = connection.execute(
            sa.select(sa.type_coerce(BLOBS.c.content, sa.types.NullType())).where(BLOBS.c.digest == digest)
        ).scalar_one_or_none()
        found = content.encode() if isinstance(content, str) else bytes(content or b"")
        if hashlib.sha256(found).hexdigest() != digest:
            findings.append(f"blob {str(digest)[:12]}: its bytes are not those of its digest")
        elif len(found) != num_bytes or media_type not in LIMITS or isinstance(content, str):
            findings.append(
                f"blob {str(digest)[:12]}: its kind or number of bytes is not what it was kept as"
            )
    return len(stated), findings
