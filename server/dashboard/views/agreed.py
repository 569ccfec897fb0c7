"""What all sites of a study agreed on, and what its report must say of the public data.

In: the store. Out: one frozen value. What stands above every page (state, progress) is `views/heads.py`.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from server.store.schema import DOCUMENTS


@dataclass(frozen=True)
class Agreed:
    """`config` is the study as its digest covers it; `data` is None until the run said what its public data is."""

    config: dict[str, Any]
    code_digest: str
    versions: dict[str, str]
    data: dict[str, Any] | None


def agreed(connection: sa.Connection, uid: str) -> Agreed:
    """Read it in one statement; the store holds it for every study that it holds."""
    table = DOCUMENTS.c
    rows = connection.execute(
        sa.select(table.name, table.document).where(table.study_uid == uid, table.name.in_(("study", "data")))
    )
    documents = {name: document for name, document in rows}  # noqa: C416 - rows are not pairs to mypy
    study = documents["study"]
    return Agreed(study["config"], study["code_digest"], study["versions"], documents.get("data"))
