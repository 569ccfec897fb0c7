"""The statements behind the page of one study, each counted or cut by the database.

In: the store. Out: plain frozen rows.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from server.dashboard.figures.timeline import Stretch, rounds_a_mark
from server.dashboard.views.head import Head
from server.metrics.intervals import Interval
from server.presentation.model_names import MODEL_NAMES
from server.store.projections import ACCEPTED
from server.store.record_kinds import EVERY
from server.store.schema import EVENTS, FIGURES, PARTICIPATION, ROUNDS

NUM_EVENTS: Final = 12
NUM_ABSENCES: Final = 60


@dataclass(frozen=True)
class ClosedRound:
    """One round: the merged student's AUC on public images after it, and how long it took."""

    number: int
    auc: Interval
    seconds: float | None


@dataclass(frozen=True)
class Absence:
    """Why a site was missing, how often, and from which round to which."""

    site: str
    why: str
    times: int
    first: int
    last: int


@dataclass(frozen=True)
class EventLine:
    """One line of what happened."""

    time: datetime
    kind: str
    site: str
    round: int | None
    what: str


def closed_rounds(connection: sa.Connection, uid: str) -> list[ClosedRound]:
    """Return every closed round, in order."""
    table = ROUNDS.c
    rows = connection.execute(
        sa.select(table.round, table.value, table.low, table.high, table.n, table.seconds)
        .where(table.study_uid == uid)
        .order_by(table.round)
    )
    return [
        ClosedRound(row.round, Interval(value=row.value, low=row.low, high=row.high, n=row.n), row.seconds)
        for row in rows
    ]


def auc_figures(
    connection: sa.Connection, uid: str
) -> tuple[dict[str, Interval], list[tuple[str, str, Interval]]]:
    """Return the test AUC by model, and (first, second, difference) of every pair, which a store names `a-b`."""
    rows = connection.execute(
        sa.select(FIGURES).where(
            FIGURES.c.study_uid == uid, FIGURES.c.of == "evaluation", FIGURES.c.name == "auc",
            FIGURES.c.label == EVERY, FIGURES.c.from_source == EVERY,
        )
    )  # fmt: skip
    models: dict[str, Interval] = {}
    pairs: list[tuple[str, str, Interval]] = []
    for row in rows:
        found = Interval(value=row.value, low=row.low, high=row.high, n=row.n, reason=row.reason)
        first, dash, second = row.subject.partition("-")
        if dash and first in MODEL_NAMES:  # the name of a site may hold a dash, too
            pairs.append((first, second, found))
        else:
            models[row.subject] = found
    return models, pairs


def participation(connection: sa.Connection, head: Head, num_sites: int) -> list[Stretch]:
    """Participation by site, in stretches of as many rounds as one mark stands for, counted by the database."""
    width = rounds_a_mark(head.rounds_done, num_sites)
    stretch = (PARTICIPATION.c.round - 1) // width
    accepted = sa.func.sum(sa.case((PARTICIPATION.c.outcome == ACCEPTED, 1), else_=0))
    rows = connection.execute(
        sa.select(PARTICIPATION.c.site, stretch.label("stretch"), accepted, sa.func.count())
        .where(PARTICIPATION.c.study_uid == head.uid, PARTICIPATION.c.round > 0)
        .group_by(PARTICIPATION.c.site, stretch)
    )
    return [
        Stretch(
            site,
            int(place) * width + 1,
            min((int(place) + 1) * width, max(head.rounds_done, 1)),
            taken,
            count - taken,
        )
        for site, place, taken, count in rows
    ]


def absences(connection: sa.Connection, uid: str) -> tuple[Absence, ...]:
    """Return who was missing and why, the most frequent first."""
    table = PARTICIPATION.c
    times = sa.func.count()
    rows = connection.execute(
        sa.select(table.site, table.outcome, times, sa.func.min(table.round), sa.func.max(table.round))
        .where(table.study_uid == uid, table.outcome != ACCEPTED)
        .group_by(table.site, table.outcome)
        .order_by(times.desc(), table.site)
        .limit(NUM_ABSENCES)
    )
    return tuple(Absence(*row) for row in rows)


def bytes_sent(connection: sa.Connection, uid: str) -> list[tuple[str, int, int]]:
    """Return (site, answers, bytes in all)."""
    table = PARTICIPATION.c
    rows = connection.execute(
        sa.select(
            table.site, sa.func.count(table.num_bytes), sa.func.coalesce(sa.func.sum(table.num_bytes), 0)
        )
        .where(table.study_uid == uid)
        .group_by(table.site)
        .order_by(table.site)
    )
    return [(site, answers, int(sent)) for site, answers, sent in rows]


def last_events(connection: sa.Connection, uid: str) -> tuple[EventLine, ...]:
    """Return the newest events, the newest first."""
    table = EVENTS.c
    rows = connection.execute(
        sa.select(table.time, table.kind, table.site, table.round, table.what)
        .where(table.study_uid == uid)
        .order_by(table.id.desc())
        .limit(NUM_EVENTS)
    )
    return tuple(EventLine(row[0], row[1].replace("_", " "), row[2], row[3], row[4]) for row in rows)


def every_participation(connection: sa.Connection, uid: str) -> list[tuple[Any, ...]]:
    """Return (round, site, outcome, bytes, epsilon) of every site in every round."""
    table = PARTICIPATION.c
    rows = connection.execute(
        sa.select(table.round, table.site, table.outcome, table.num_bytes, table.epsilon)
        .where(table.study_uid == uid)
        .order_by(table.round, table.site)
    )
    return [tuple(row) for row in rows]
