"""From records to the tables that pages read: one function for each kind of record.

In: records that were just appended, and their bodies. Out: rows, within the same transaction. Nothing here reads a
clock or anything but records, so the tables can be made anew from them.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import sqlalchemy as sa

from server.store import record_kinds as r
from server.store import schema
from server.store.chain import GENESIS, Record
from server.store.row_writer import KEYS, Rows

_PLACE_BITS: Final = 20  # a record makes fewer rows of one table than this has numbers
ACCEPTED: Final = "accepted"
OPINION: Final = "opinion"  # in the table of decisions: what somebody thought, which decides nothing
_DECIDED: Final = {"accept": "accepted", "hold": "held", "withdraw": "withdrawn"}


@dataclass(frozen=True)
class At:
    """Where a projection writes, and which record it is about."""

    rows: Rows
    number: int
    source: str
    record: Record
    places: Iterator[int] = field(default_factory=itertools.count)

    def row(self, table: sa.Table, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row of this record's study."""
        own = {"study_uid": self.record.study_uid, "record": self.number}
        if "id" in table.c:
            own["id"] = (self.number << _PLACE_BITS) + next(self.places)
        return own | dict(values)

    def add(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        """Insert a row of this record's study."""
        self.rows.add(table, self.row(table, values))

    def put(self, table: sa.Table, values: Mapping[str, Any]) -> None:
        """Insert one row, in place of the one that has its key: the newest record counts."""
        row = self.row(table, values)
        self.rows.replace(table, {name: row[name] for name in KEYS[table]}, [row])

    def anew(self, table: sa.Table, rows: Iterable[Mapping[str, Any]], **key: Any) -> None:
        """Replace all rows of this study that have this key."""
        key["study_uid"] = self.record.study_uid
        self.rows.replace(table, key, [self.row(table, row) for row in rows])

    def study(self) -> dict[str, Any] | None:
        """Return the study's own row, to be changed; None before the study began."""
        uid = self.record.study_uid
        return self.rows.current(schema.STUDIES, study_uid=uid) if uid else None

    def change_study(self, **values: Any) -> None:
        """Change the study's own row."""
        study = self.study()
        if study is not None:
            study.update(values)

    def tell(self, kind: str, what: str, *, round_: int | None = None, site: str = "") -> None:
        """Add a line to the events."""
        self.add(
            schema.EVENTS,
            {"source": self.source, "kind": kind, "round": round_, "site": site, "what": what,
             "time": self.record.time},
        )  # fmt: skip


def project(rows: Rows, number: int, source: str, record: Record, body: Any) -> None:
    """Say what the tables hold of one record; `rows.flush()` writes it."""
    at = At(rows, number, source, record)
    _PROJECTIONS[type(body)](at, body)
    study = at.study()
    if study is not None:
        study["updated"] = record.time
        if record.kind in r.EVIDENCE:
            study["evidence"] = evidence_after(study["evidence"], record.chain)


def evidence_after(before: str, chain: str) -> str:
    """Return the digest of a study's evidence once a record with this hash is added to it."""
    return hashlib.sha256(f"{before}{chain}".encode()).hexdigest()


def _study(at: At, body: r.StudyBody) -> None:
    known = at.study()
    kept = ("started", "rounds_done", "verdict", "decision", "evidence")
    before = {
        "started": at.record.time, "rounds_done": 0, "verdict": "none", "decision": "none", "evidence": GENESIS,
    }  # fmt: skip
    if known is not None:
        before = {name: known[name] for name in kept}
    at.put(
        schema.STUDIES,
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
        | before,
    )
    at.put(schema.DOCUMENTS, {"name": "study", "document": body.model_dump(mode="json")})
    at.tell("study_started" if known is None else "study_resumed", body.config.purpose)


def _data(at: At, body: r.DataBody) -> None:
    at.put(schema.DOCUMENTS, {"name": "data", "document": body.model_dump(mode="json")})


def _status(at: At, body: r.StatusBody) -> None:
    at.change_study(state=body.state, why=body.why)
    at.tell(f"study_{body.state}", body.why)


def _site(at: At, body: r.SiteBody) -> None:
    at.put(
        schema.SITES,
        {
            "site": body.site,
            "declared_patients": body.declared_patients,
            "code_digest": body.code_digest,
            "versions": body.versions,
            "last_seen": at.record.time,
        },
    )
    at.tell("enrolled", f"{body.site} takes part", site=body.site)


def _round(at: At, body: r.RoundBody) -> None:
    auc = body.auc
    at.put(
        schema.ROUNDS,
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
    at.anew(schema.PARTICIPATION, rows, round=body.round)
    study = at.study()
    if study is not None:
        study["rounds_done"] = max(study["rounds_done"], body.round)
    for site, why in body.missing.items():
        at.tell("missing", why, round_=body.round, site=site)


def _release(at: At, body: r.ReleaseBody) -> None:
    at.add(schema.RELEASES, body.model_dump(exclude={"kind"}) | {"time": at.record.time})
    site = at.rows.current(schema.SITES, study_uid=at.record.study_uid, site=body.site)
    if site is not None:
        site["last_seen"] = at.record.time
    if body.outcome != ACCEPTED:
        at.tell("refused", f"{body.release}: {body.outcome}", round_=body.round, site=body.site)


def _statement(at: At, body: r.StatementBody) -> None:
    said = body.statement
    at.add(
        schema.STATEMENTS,
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


def _event(at: At, body: r.EventBody) -> None:
    at.tell(body.event, body.what, round_=body.round, site=body.site)


def _figures(at: At, body: r.FiguresBody) -> None:
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
    at.anew(schema.FIGURES, rows, of=body.of)


def _document(at: At, body: r.DocumentBody) -> None:
    at.put(schema.DOCUMENTS, {"name": body.name, "document": body.document})


def _map(at: At, body: r.MapBody) -> None:
    grid = None if body.grid is None else body.grid.model_dump(mode="json")
    values = body.model_dump(exclude={"kind", "grid", "source"})
    digest = hashlib.sha256(at.record.body.encode()).hexdigest()
    at.put(schema.MAPS, values | {"from_source": body.source, "grid": grid, "digest": digest})


def _film(at: At, body: r.FilmBody) -> None:
    at.put(schema.FILMS, body.model_dump(exclude={"kind", "source"}) | {"from_source": body.source})


def _image(at: At, body: r.ImageBody) -> None:
    plain = body.model_dump(mode="json", exclude={"kind", "source"})
    at.put(schema.IMAGES, plain | {"from_source": body.source})


def _gate(at: At, body: r.GateBody) -> None:
    rows = [{"position": index} | check.model_dump() for index, check in enumerate(body.checks)]
    at.anew(schema.CHECKS, rows)
    at.put(schema.DOCUMENTS, {"name": "gate", "document": body.model_dump(mode="json")})
    at.change_study(verdict=body.verdict)
    at.tell("gate", body.sentence)


def _model(at: At, body: r.ModelBody) -> None:
    at.put(schema.MODELS, body.model_dump(exclude={"kind"}))


def _decision(at: At, body: r.DecisionBody) -> None:
    at.add(schema.DECISIONS, body.model_dump(exclude={"kind"}) | {"time": at.record.time})
    at.change_study(decision=_DECIDED[body.action])
    at.tell("decision", f"{body.person} ({body.role}) decided to {body.action}: {body.reason}")


def _opinion(at: At, body: r.OpinionBody) -> None:
    values = {"person": body.person, "role": body.role, "evidence": body.evidence, "own_view": body.view}
    at.add(schema.DECISIONS, values | {"action": OPINION, "reason": "", "time": at.record.time})
    at.tell("opinion", f"{body.person} ({body.role}) gave an own view before the verdict was shown")


def _person(at: At, body: r.PersonBody) -> None:
    at.tell("person", f"{body.person}: {body.what}" + (f" (by {body.by})" if body.by else ""))


def _incident(at: At, body: r.IncidentBody) -> None:
    at.tell("incident", f"{body.source}: {body.what}")


_PROJECTIONS: Final[Mapping[type[Any], Callable[[At, Any], None]]] = {
    r.StudyBody: _study, r.DataBody: _data, r.StatusBody: _status, r.SiteBody: _site, r.RoundBody: _round,
    r.ReleaseBody: _release, r.StatementBody: _statement, r.EventBody: _event, r.FiguresBody: _figures,
    r.DocumentBody: _document, r.MapBody: _map, r.FilmBody: _film, r.ImageBody: _image, r.GateBody: _gate,
    r.ModelBody: _model, r.DecisionBody: _decision, r.OpinionBody: _opinion, r.PersonBody: _person,
    r.IncidentBody: _incident,
}  # fmt: skip
