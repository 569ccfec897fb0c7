"""The API's addresses: each reads, none changes anything.

In: a token and a study. Out: JSON of `models`, described by OpenAPI at /api/v1/openapi.json.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query
from fastapi.openapi.utils import get_openapi

from server.dashboard.api import models
from server.dashboard.api.guard import Reading, token_holder
from server.dashboard.api.reading import InWindow, check_study, paged, read
from server.dashboard.views.explanations.mean_maps import withheld
from server.dashboard.views.search import contains
from server.store.schema import (
    CHECKS,
    DECISIONS,
    DOCUMENTS,
    EVENTS,
    FIGURES,
    MAPS,
    PARTICIPATION,
    ROUNDS,
    SITES,
    SOURCES,
    STATEMENTS,
    STUDIES,
)

PREFIX: Final = "/api/v1"
_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: {"model": models.Refusal, "description": "not addressed to this dashboard, or not readable"},
    401: {"model": models.Refusal, "description": "no live token"},
    422: {"model": models.Refusal, "description": "a value of the wrong form"},
    503: {"model": models.Refusal, "description": "too many requests at once"},
}
_OF_STUDY: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": models.Refusal, "description": "no such study"}
}
router = APIRouter(prefix=PREFIX, dependencies=[Depends(token_holder)], responses=_REFUSALS)
Uid = Annotated[str, Path(max_length=64, description="study_uid")]
Word = Annotated[str, Query(max_length=100)]
RoundNumber = Annotated[int | None, Query(ge=0, le=1_000_000)]


@router.get("/studies")
def studies(connection: Reading, window: InWindow, search: Word = "") -> models.Paged[models.Study]:
    """List studies, the newest first."""
    fits = sa.or_(contains(STUDIES.c.name, search), contains(STUDIES.c.study_uid, search))
    query = _STUDIES.where(fits).order_by(STUDIES.c.started.desc(), STUDIES.c.study_uid)
    return paged(connection, query, window, models.Study)


@router.get("/studies/{study_uid}", responses=_OF_STUDY)
def study(connection: Reading, study_uid: Uid) -> models.Study:
    """Return one study."""
    check_study(connection, study_uid)
    return read(models.Study, connection.execute(_STUDIES.where(STUDIES.c.study_uid == study_uid)).one())


@router.get("/studies/{study_uid}/rounds", responses=_OF_STUDY)
def rounds(connection: Reading, study_uid: Uid, window: InWindow) -> models.Paged[models.Round]:
    """List closed rounds in order, each with the sites that were asked."""
    check_study(connection, study_uid)

    def complete(rows: Sequence[sa.Row[Any]]) -> list[models.Round]:
        who: dict[int, list[models.Participation]] = {row.round: [] for row in rows}
        for one in connection.execute(
            sa.select(PARTICIPATION)
            .where(PARTICIPATION.c.study_uid == study_uid, PARTICIPATION.c.round.in_(list(who)))
            .order_by(PARTICIPATION.c.round, PARTICIPATION.c.site)
        ):
            who[one.round].append(read(models.Participation, one))
        return [read(models.Round, row, sites=tuple(who[row.round])) for row in rows]

    query = sa.select(ROUNDS).where(ROUNDS.c.study_uid == study_uid).order_by(ROUNDS.c.round)
    return paged(connection, query, window, models.Round, complete)


@router.get("/studies/{study_uid}/sites", responses=_OF_STUDY)
def sites(connection: Reading, study_uid: Uid, window: InWindow) -> models.Paged[models.Site]:
    """List sites that enrolled, by name."""
    check_study(connection, study_uid)
    query = sa.select(SITES).where(SITES.c.study_uid == study_uid).order_by(SITES.c.site)
    return paged(connection, query, window, models.Site)


@router.get("/studies/{study_uid}/statements", responses=_OF_STUDY)
def statements(
    connection: Reading, study_uid: Uid, window: InWindow, site: Word = ""
) -> models.Paged[models.Statement]:
    """List the ledger statements that sites released, in the order in which they came."""
    check_study(connection, study_uid)
    query = sa.select(STATEMENTS).where(STATEMENTS.c.study_uid == study_uid).order_by(STATEMENTS.c.id)
    return paged(connection, _only(query, {STATEMENTS.c.site: site}), window, models.Statement)


@router.get("/studies/{study_uid}/figures", responses=_OF_STUDY)
def figures(
    connection: Reading, study_uid: Uid, window: InWindow, of: Word = "", name: Word = ""
) -> models.Paged[models.Figure]:
    """List measured figures with their intervals."""
    check_study(connection, study_uid)
    query = sa.select(FIGURES).where(FIGURES.c.study_uid == study_uid).order_by(FIGURES.c.id)
    return paged(connection, _only(query, {FIGURES.c.of: of, FIGURES.c.name: name}), window, models.Figure)


@router.get("/studies/{study_uid}/maps", responses=_OF_STUDY)
def maps(
    connection: Reading, study_uid: Uid, window: InWindow, subject: Word = "", label: Word = "",
    source: Word = "", round: RoundNumber = None,  # noqa: A002 - the field's name
) -> models.Paged[models.Map]:  # fmt: skip
    """List mean maps; `round` leaves out the final student's, whose round is null."""
    check_study(connection, study_uid)
    query = sa.select(MAPS).where(MAPS.c.study_uid == study_uid).order_by(MAPS.c.id)
    if round is not None:
        query = query.where(MAPS.c.round == round)
    chosen = {MAPS.c.subject: subject, MAPS.c.label: label, MAPS.c.from_source: source}

    def complete(rows: Sequence[sa.Row[Any]]) -> list[models.Map]:
        return [read(models.Map, row, **withheld(row)) for row in rows]

    return paged(connection, _only(query, chosen), window, models.Map, complete)


@router.get("/studies/{study_uid}/gate", responses=_OF_STUDY)
def gate(connection: Reading, study_uid: Uid) -> models.Gate:
    """Return the automatic verdict with its checks, and what people decided."""
    check_study(connection, study_uid)
    document = connection.execute(
        sa.select(DOCUMENTS.c.document).where(DOCUMENTS.c.study_uid == study_uid, DOCUMENTS.c.name == "gate")
    ).scalar_one_or_none() or {"verdict": "none", "sentence": "not measured: the gate was not run"}
    checks = connection.execute(
        sa.select(CHECKS).where(CHECKS.c.study_uid == study_uid).order_by(CHECKS.c.position)
    )
    decisions = connection.execute(
        sa.select(DECISIONS).where(DECISIONS.c.study_uid == study_uid).order_by(DECISIONS.c.id.desc())
    )
    return models.Gate(
        verdict=document["verdict"],
        sentence=document["sentence"],
        checks=tuple(read(models.Check, row) for row in checks),
        decisions=tuple(read(models.Decision, row) for row in decisions),
    )


@router.get("/studies/{study_uid}/events", responses=_OF_STUDY)
def events_of_study(
    connection: Reading, study_uid: Uid, window: InWindow, kind: Word = "", site: Word = "", search: Word = ""
) -> models.Paged[models.Event]:
    """List what happened in a study, the newest first."""
    check_study(connection, study_uid)
    query = _events(kind, site, search).where(EVENTS.c.study_uid == study_uid)
    return paged(connection, query, window, models.Event)


@router.get("/events")
def events(
    connection: Reading, window: InWindow, kind: Word = "", site: Word = "", search: Word = ""
) -> models.Paged[models.Event]:
    """List what happened in all studies, and to accounts, the newest first."""
    return paged(connection, _events(kind, site, search), window, models.Event)


@router.get("/openapi.json")
def description() -> models.Description:
    """Describe this API."""
    made = get_openapi(
        title="Teaching Rounds, read-only API", version="1", routes=router.routes,
        description="What the audit dashboard shows, for programs. Nothing here changes anything.",
    )  # fmt: skip
    return models.Description.model_validate(made)


_STUDIES: Final = sa.select(STUDIES, SOURCES.c.last_received).outerjoin(
    SOURCES, SOURCES.c.source == STUDIES.c.source
)


def _events(kind: str, site: str, search: str) -> sa.Select[Any]:
    query = sa.select(EVENTS).order_by(EVENTS.c.time.desc(), EVENTS.c.id.desc())
    if search:
        query = query.where(sa.or_(contains(EVENTS.c.what, search), contains(EVENTS.c.site, search)))
    return _only(query, {EVENTS.c.kind: kind, EVENTS.c.site: site})


def _only(query: sa.Select[Any], chosen: dict[Any, str]) -> sa.Select[Any]:
    """Keep the rows that have each value that was given."""
    return query.where(*(column == value for column, value in chosen.items() if value))
