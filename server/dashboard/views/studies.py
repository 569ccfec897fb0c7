"""The list of studies: newest first, searched and cut in the database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from server.dashboard.rendering.paging import Paged
from server.dashboard.views.search import contains
from server.store.schema import STUDIES

SIZE: Final = 25


_LINE: Final = sa.select(
    STUDIES.c.study_uid, STUDIES.c.name, STUDIES.c.simulation, STUDIES.c.state, STUDIES.c.why,
    STUDIES.c.rounds_done, STUDIES.c.rounds, STUDIES.c.verdict, STUDIES.c.decision, STUDIES.c.started,
    STUDIES.c.updated, STUDIES.c.evidence,
)  # fmt: skip


@dataclass(frozen=True)
class StudyLine:
    """A study in one line; the times are the sender's clock."""

    study_uid: str
    name: str
    simulation: bool
    state: str
    why: str
    rounds_done: int
    rounds: int
    verdict: str
    decision: str
    started: datetime
    updated: datetime
    evidence: str


@dataclass(frozen=True)
class StudiesView:
    """One page of studies, and how many there are of each kind in the whole store."""

    studies: Paged[StudyLine]
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
        _LINE.where(fits).order_by(STUDIES.c.started.desc(), STUDIES.c.study_uid)
        .limit(SIZE).offset((number - 1) * SIZE)
    )  # fmt: skip
    paged = Paged(
        tuple(StudyLine(*tuple(row)) for row in rows),
        number,
        SIZE,
        counted[3],
        "/studies",
        {"search": search},
    )
    return StudiesView(paged, counted[0], counted[1], counted[2], search)
