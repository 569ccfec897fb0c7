"""The list of studies: newest first, searched and cut in the database."""

from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from server.dashboard.paging import Paged
from server.dashboard.views.heads import HEAD, StudyHead, head_of
from server.dashboard.views.search import contains
from server.store.schema import STUDIES

SIZE: Final = 25


@dataclass(frozen=True)
class StudiesView:
    """One page of studies, and how many there are of each kind in the whole store."""

    studies: Paged[StudyHead]
    num_studies: int
    num_running: int
    num_undecided: int  # with a verdict of the gate and no person's decision
    search: str


def studies_view(connection: sa.Connection, search: str = "", number: int = 1) -> StudiesView:
    """Return the studies whose name or identifier contains `search`."""
    fits = sa.or_(contains(STUDIES.c.name, search), contains(STUDIES.c.study_uid, search))
    counted = connection.execute(
        sa.select(
            sa.func.count(),
            sa.func.count().filter(STUDIES.c.state == "running"),
            sa.func.count().filter(STUDIES.c.verdict != "none", STUDIES.c.decision == "none"),
            sa.func.count().filter(fits),
        ).select_from(STUDIES)
    ).one()
    rows = connection.execute(
        HEAD.where(fits).order_by(STUDIES.c.started.desc(), STUDIES.c.study_uid)
        .limit(SIZE).offset((number - 1) * SIZE)
    )  # fmt: skip
    paged = Paged(
        tuple(head_of(row) for row in rows), number, SIZE, counted[3], "/studies", {"search": search}
    )
    return StudiesView(paged, counted[0], counted[1], counted[2], search)
