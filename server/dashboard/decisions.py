"""Decisions of people about a student: who may decide what, on which evidence, and what is recorded.

In: a person's session and what the form said. Out: one chained record, or `NotDecided` with a status and a sentence,
and then nothing is stored. The gate proposes, a person decides: a student that the gate held can be held or withdrawn
by a person, never accepted.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from server.dashboard.auth.sessions import Visit
from server.store.append import append_own
from server.store.database import writing
from server.store.projections import OPINION
from server.store.record_kinds import Body, DecisionBody, OpinionBody
from server.store.schema import DECISIONS, STUDIES

PEOPLE: Final = "people"
ACTIONS: Final = ("accept", "hold", "withdraw")
VIEWS: Final = ("accept", "hold", "undecided")
CHANGED: Final = (
    "The evidence changed since this page was loaded, so nothing was decided. Look at it again, then decide."
)


class NotDecided(Exception):  # noqa: N818 - a refusal, not a failure
    """Nothing was stored; `status` and the sentence say why."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Decision:
    """One line of the history: a decision, or an own view given before the verdict was shown."""

    person: str
    role: str
    action: str
    reason: str
    evidence: str
    own_view: str
    time: datetime

    @property
    def decides(self) -> bool:
        """Tell a decision from an own view."""
        return self.action != OPINION


def evidence_of(connection: sa.Connection, uid: str) -> str:
    """Return the digest over all evidence of a study; `NotDecided` 404 where the store has none."""
    digest = connection.execute(
        sa.select(STUDIES.c.evidence).where(STUDIES.c.study_uid == uid)
    ).scalar_one_or_none()
    if digest is None:
        raise NotDecided(404, "The study is not in this store.")
    return str(digest)


def history(connection: sa.Connection, uid: str) -> tuple[Decision, ...]:
    """Return decisions and own views, the newest first."""
    table = DECISIONS.c
    rows = connection.execute(
        sa.select(
            table.person, table.role, table.action, table.reason, table.evidence, table.own_view, table.time
        )
        .where(table.study_uid == uid)
        .order_by(table.id.desc())
    )
    return tuple(Decision(*row) for row in rows)


def own_view_of(told: tuple[Decision, ...], person: str, evidence: str) -> str:
    """Return what a person thought of this very evidence, '' before they said so."""
    return next(
        (
            one.own_view
            for one in told
            if not one.decides and (one.person, one.evidence) == (person, evidence)
        ),
        "",
    )


def views_given(connection: sa.Connection, person: str) -> dict[str, set[str]]:
    """Return, by study, the evidence of which a person has given an own view."""
    table = DECISIONS.c
    rows = connection.execute(
        sa.select(table.study_uid, table.evidence).where(table.person == person, table.action == OPINION)
    )
    given: dict[str, set[str]] = {}
    for uid, evidence in rows:
        given.setdefault(uid, set()).add(evidence)
    return given


def state_view(engine: sa.Engine, uid: str, visit: Visit, view: str, evidence: str) -> None:
    """Record what a person thinks before the verdict is shown."""
    if view not in VIEWS:
        raise NotDecided(422, f"own view is missing: choose one of {', '.join(VIEWS)}.")
    body = OpinionBody(person=visit.person, role=visit.role, view=view, evidence=evidence)
    _recorded(engine, uid, evidence, body)


def decide(
    engine: sa.Engine,
    uid: str,
    visit: Visit,
    action: str,
    reason: str,
    evidence: str,
    *,
    own_view_first: bool,
) -> None:
    """Record a decision that is bound to the evidence shown; `NotDecided` says why none was made."""
    if action not in ACTIONS:
        raise NotDecided(422, f"decision is missing: choose one of {', '.join(ACTIONS)}.")
    said = " ".join(reason.split())
    if not said:
        raise NotDecided(422, "reason is empty: say in a sentence or two what the decision rests on.")
    with engine.connect() as connection:
        view = own_view_of(history(connection, uid), visit.person, evidence)
    if own_view_first and not view:
        raise NotDecided(
            409, "Say first what you think yourself; the verdict and the decision come after that."
        )
    body = DecisionBody(
        person=visit.person, role=visit.role, action=action, reason=said, evidence=evidence, own_view=view,
    )  # fmt: skip
    _recorded(engine, uid, evidence, body, accepts=action == "accept")


def _recorded(engine: sa.Engine, uid: str, evidence: str, body: Body, *, accepts: bool = False) -> None:
    """Look at the study and write in one transaction: no evidence comes in between."""
    with writing(engine).begin() as connection:
        if evidence_of(connection, uid) != evidence:
            raise NotDecided(409, CHANGED)
        verdict = connection.execute(
            sa.select(STUDIES.c.verdict).where(STUDIES.c.study_uid == uid)
        ).scalar_one()
        if accepts and verdict != "accepted":
            raise NotDecided(
                409,
                "The gate did not accept this student, and nobody may accept it in the gate's place: hold it.",
            )
        append_own(connection, PEOPLE, uid, body)
