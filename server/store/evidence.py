"""What a decision is bound to: one digest of all evidence of a study.

In: a study. Out: SHA-256 that begins with 64 zeros and takes in, one after the other, the chain hash of each of its
records of a kind in `records.EVIDENCE`. Any record more gives another digest; events, decisions and logins do not.
"""

import sqlalchemy as sa

from server.store.schema import STUDIES
from shared.errors import StoreError


def evidence_digest(connection: sa.Connection, study_uid: str) -> str:
    """Return the digest as it stands now; the projections keep it up to date, and `verify` computes it again."""
    digest = connection.execute(
        sa.select(STUDIES.c.evidence).where(STUDIES.c.study_uid == study_uid)
    ).scalar_one_or_none()
    if digest is None:
        raise StoreError(f"study {study_uid}: is not in the store")
    return str(digest)
