"""Events of one study or of all: searched, filtered and cut in the database, newest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from server.dashboard.rendering.paging import Paged
from server.dashboard.views.search import contains
from server.store.schema import EVENTS, STUDIES

SIZE: Final = 50


@dataclass(frozen=True)
class Asked:
    """What the reader looks for; empty is everything."""

    search: str = ""
    kind: str = ""
    site: str = ""


@dataclass(frozen=True)
class EventRow:
    """One event in words; `study` is empty where it is of no study, such as a login."""

    number: int
    time: datetime
    kind: str
    study_uid: str
    study: str
    round: int | None
    site: str
    what: str
    source: str
    evidence: str


@dataclass(frozen=True)
class EventsView:
    """One page of events, and what can be chosen from."""

    events: Paged[EventRow]
    asked: Asked
    kinds: tuple[str, ...]
    sites: tuple[str, ...]


def events_view(
    connection: sa.Connection,
    asked: Asked,
    number: int = 1,
    study_uid: str | None = None,
    path: str = "/events",
) -> EventsView:
    """Return one page of the events that fit."""
    within = [] if study_uid is None else [EVENTS.c.study_uid == study_uid]
    fits = list(within)
    if asked.kind:
        fits.append(EVENTS.c.kind == asked.kind)
    if asked.site:
        fits.append(EVENTS.c.site == asked.site)
    if asked.search:
        columns = (EVENTS.c.what, EVENTS.c.site, STUDIES.c.name, EVENTS.c.kind)
        fits.append(sa.or_(*(contains(column, asked.search) for column in columns)))
    joined = EVENTS.outerjoin(STUDIES, STUDIES.c.study_uid == EVENTS.c.study_uid)
    total = connection.execute(sa.select(sa.func.count()).select_from(joined).where(*fits)).scalar_one()
    rows = connection.execute(
        sa.select(
            EVENTS.c.record, EVENTS.c.time, EVENTS.c.kind, EVENTS.c.study_uid,
            sa.func.coalesce(STUDIES.c.name, ""), EVENTS.c.round, EVENTS.c.site, EVENTS.c.what, EVENTS.c.source,
            sa.func.coalesce(STUDIES.c.evidence, ""),
        )
        .select_from(joined).where(*fits)
        .order_by(EVENTS.c.time.desc(), EVENTS.c.id.desc()).limit(SIZE).offset((number - 1) * SIZE)
    )  # fmt: skip
    kinds = connection.execute(sa.select(EVENTS.c.kind).where(*within).distinct().order_by(EVENTS.c.kind))
    sites = connection.execute(
        sa.select(EVENTS.c.site).where(*within, EVENTS.c.site != "").distinct().order_by(EVENTS.c.site)
    )
    said = {"search": asked.search, "kind": asked.kind, "site": asked.site}
    paged = Paged(tuple(EventRow(*tuple(row)) for row in rows), number, SIZE, total, path, said)
    return EventsView(paged, asked, tuple(kinds.scalars()), tuple(sites.scalars()))
