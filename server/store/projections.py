"""From records to the tables that pages read: one function for each kind of record.

In: a record that was just appended, and its body. Out: rows, within the same transaction. Nothing here reads a clock
or anything but records, so the tables can be made anew from them.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from server.store.chain import Record, canonical
from server.store.records import (
    DataBody,
    DecisionBody,
    DocumentBody,
    EventBody,
    FiguresBody,
    FilmBody,
    GateBody,
    ImageBody,
    IncidentBody,
    MapBody,
    ModelBody,
    PersonBody,
    ReleaseBody,
    RoundBody,
    SiteBody,
    StatementBody,
    StatusBody,
    StudyBody,
)
from server.store.schema import (
    CHECKS,
    DECISIONS,
    DOCUMENTS,
    EVENTS,
    FIGURES,
    FILMS,
    IMAGES,
    MAPS,
    MODELS,
    PARTICIPATION,
    RELEASES,
    ROUNDS,
    SITES,
    STATEMENTS,
    STUDIES,
)

ACCEPTED: Final = "accepted"
_DECIDED: Final = {"accept": "accepted", "hold": "held", "withdraw": "withdrawn"}


@dataclass(frozen=True)
class At:
    """Where a projection writes, and which record it is about."""

    connection: sa.Connection
    number: int
    source: str
    record: Record

    @property
    def study(self) -> dict[str, Any]:
        """The columns that every row of a study has."""
        return {"study_uid": self.record.study_uid, "record": self.number}

    def add(self, table: sa.Table, *rows: Mapping[str, Any]) -> None:
        """Insert rows of this record's study."""
        if rows:
            self.connection.execute(sa.insert(table), [self.study | dict(row) for row in rows])

    def put(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        """Insert one row, in place of the one that has its key: the newest record counts."""
        row = self.study | dict(values)
        key = [column == row[column.name] for column in table.primary_key]
        self.connection.execute(sa.delete(table).where(*key))
        self.connection.execute(sa.insert(table).values(row))

    def anew(self, table: sa.Table, *rows: Mapping[str, Any], only: tuple[Any, ...] = ()) -> None:
        """Replace the rows of this study (those that fit `only`)."""
        self.connection.execute(sa.delete(table).where(table.c.study_uid == self.record.study_uid, *only))
        self.add(table, *rows)

    def change_study(self, **values: Any) -> None:
        """Change the study's own row."""
        self.connection.execute(
            sa.update(STUDIES).where(STUDIES.c.study_uid == self.record.study_uid).values(values)
        )

    def tell(self, kind: str, what: str, *, round_: int | None = None, site: str = "") -> None:
        """Add a line to the events."""
        self.add(
            EVENTS,
            {"source": self.source, "kind": kind, "round": round_, "site": site, "what": what,
             "time": self.record.time},
        )  # fmt: skip


def project(connection: sa.Connection, number: int, source: str, record: Record, body: Any) -> None:
    """Write what the tables say of one record."""
    at = At(connection, number, source, record)
    _PROJECTIONS[type(body)](at, body)
    at.change_study(updated=record.time)


def _study(at: At, body: StudyBody) -> None:
    known = at.connection.execute(
        sa.select(STUDIES.c.started, STUDIES.c.rounds_done, STUDIES.c.verdict, STUDIES.c.decision).where(
            STUDIES.c.study_uid == at.record.study_uid
        )
    ).one_or_none()
    before = {"started": at.record.time, "rounds_done": 0, "verdict": "none", "decision": "none"}
    at.put(
        STUDIES,
        {
            "source": at.source,
            "name": body.config.name,
            "digest": body.config.digest(),
            "simulation": body.simulation,
            "state": "running",
            "why": "",
            "rounds": body.config.federation.rounds,
            "updated": at.record.time,
        }
        | (before if known is None else known._asdict()),
    )
    at.put(DOCUMENTS, {"name": "study", "document": body.model_dump(mode="json")})
    at.tell("study_started" if known is None else "study_resumed", body.config.purpose)


def _data(at: At, body: DataBody) -> None:
    at.put(DOCUMENTS, {"name": "data", "document": body.model_dump(mode="json")})


def _status(at: At, body: StatusBody) -> None:
    at.change_study(state=body.state, why=body.why)
    at.tell(f"study_{body.state}", body.why)


def _site(at: At, body: SiteBody) -> None:
    at.put(
        SITES,
        {
            "site": body.site,
            "declared_patients": body.declared_patients,
            "code_digest": body.code_digest,
            "versions": body.versions,
            "last_seen": at.record.time,
        },
    )
    at.tell("enrolled", f"{body.site} takes part", site=body.site)


def _round(at: At, body: RoundBody) -> None:
    auc = body.auc
    at.put(
        ROUNDS,
        {
            "round": body.round,
            "num_answered": len(body.answered),
            "num_missing": len(body.missing),
            "seconds": body.seconds,
            "mask_area": body.mask_area,
            "num_bytes": sum(body.num_bytes.values()),
            "value": None if auc is None else auc.value,
            "low": None if auc is None else auc.low,
            "high": None if auc is None else auc.high,
            "n": 0 if auc is None else auc.n,
            "closed": at.record.time,
        },
    )
    outcomes = dict.fromkeys(body.answered, ACCEPTED) | body.missing
    rows = [
        {"round": body.round, "site": site, "outcome": outcome, "num_bytes": body.num_bytes.get(site),
         "epsilon": body.epsilon.get(site)}
        for site, outcome in outcomes.items()
    ]  # fmt: skip
    at.anew(PARTICIPATION, *rows, only=(PARTICIPATION.c.round == body.round,))
    at.connection.execute(
        sa.update(STUDIES)
        .where(STUDIES.c.study_uid == at.record.study_uid, STUDIES.c.rounds_done < body.round)
        .values(rounds_done=body.round)
    )
    for site, why in body.missing.items():
        at.tell("missing", why, round_=body.round, site=site)


def _release(at: At, body: ReleaseBody) -> None:
    at.add(RELEASES, body.model_dump(exclude={"kind"}) | {"time": at.record.time})
    at.connection.execute(
        sa.update(SITES)
        .where(SITES.c.study_uid == at.record.study_uid, SITES.c.site == body.site)
        .values(last_seen=at.record.time)
    )
    if body.outcome != ACCEPTED:
        at.tell("refused", f"{body.release}: {body.outcome}", round_=body.round, site=body.site)


def _statement(at: At, body: StatementBody) -> None:
    said = body.statement
    at.add(
        STATEMENTS,
        {
            "site": said.site,
            "round": body.round,
            "epsilon": said.epsilon,
            "delta": said.delta,
            "cap_epsilon": said.cap_epsilon,
            "head_seq": said.head_seq,
            "head_hash": said.head_hash,
            "follows": body.follows,
            "statement": said.model_dump(mode="json"),
            "time": at.record.time,
        },
    )
    if body.follows is False:
        at.tell(
            "ledger",
            "its ledger's head does not follow the one remembered",
            round_=body.round,
            site=said.site,
        )


def _event(at: At, body: EventBody) -> None:
    at.tell(body.event, body.what, round_=body.round, site=body.site)


def _figures(at: At, body: FiguresBody) -> None:
    rows = [
        {
            "of": body.of,
            "name": one.name,
            "subject": one.subject,
            "label": one.label,
            "from_source": one.source,
        }
        | one.interval.model_dump()
        for one in body.figures
    ]
    at.anew(FIGURES, *rows, only=(FIGURES.c.of == body.of,))


def _document(at: At, body: DocumentBody) -> None:
    at.put(DOCUMENTS, {"name": body.name, "document": body.document})


def _map(at: At, body: MapBody) -> None:
    grid = None if body.grid is None else body.grid.model_dump(mode="json")
    same = (
        MAPS.c.subject == body.subject, MAPS.c.label == body.label, MAPS.c.from_source == body.source,
        MAPS.c.round.is_(None) if body.round is None else MAPS.c.round == body.round,
        MAPS.c.site_release == body.site_release,
    )  # fmt: skip
    values = body.model_dump(exclude={"kind", "grid", "source"})
    digest = hashlib.sha256(canonical(body.model_dump(mode="json")).encode()).hexdigest()
    at.anew(MAPS, values | {"from_source": body.source, "grid": grid, "digest": digest}, only=same)


def _film(at: At, body: FilmBody) -> None:
    at.put(FILMS, body.model_dump(exclude={"kind", "source"}) | {"from_source": body.source})


def _image(at: At, body: ImageBody) -> None:
    plain = body.model_dump(mode="json", exclude={"kind", "source"})
    at.put(IMAGES, plain | {"from_source": body.source})


def _gate(at: At, body: GateBody) -> None:
    rows = [{"position": index} | check.model_dump() for index, check in enumerate(body.checks)]
    at.anew(CHECKS, *rows)
    at.put(DOCUMENTS, {"name": "gate", "document": body.model_dump(mode="json")})
    at.change_study(verdict=body.verdict)
    at.tell("gate", body.sentence)


def _model(at: At, body: ModelBody) -> None:
    at.put(MODELS, body.model_dump(exclude={"kind"}))


def _decision(at: At, body: DecisionBody) -> None:
    at.add(DECISIONS, body.model_dump(exclude={"kind"}) | {"time": at.record.time})
    at.change_study(decision=_DECIDED[body.action])
    at.tell("decision", f"{body.person} ({body.role}) decided to {body.action}: {body.reason}")


def _person(at: At, body: PersonBody) -> None:
    at.tell("person", f"{body.person}: {body.what}" + (f" (by {body.by})" if body.by else ""))


def _incident(at: At, body: IncidentBody) -> None:
    at.tell("incident", f"{body.source}: {body.what}")


_PROJECTIONS: Final[Mapping[type[Any], Callable[[At, Any], None]]] = {
    StudyBody: _study, DataBody: _data, StatusBody: _status, SiteBody: _site, RoundBody: _round,
    ReleaseBody: _release, StatementBody: _statement, EventBody: _event, FiguresBody: _figures,
    DocumentBody: _document, MapBody: _map, FilmBody: _film, ImageBody: _image, GateBody: _gate, ModelBody: _model,
    DecisionBody: _decision, PersonBody: _person, IncidentBody: _incident,
}  # fmt: skip
