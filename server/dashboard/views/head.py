"""What stands at the head of every page of a study: its state, purpose, people's decision, and how fresh it is.

In: the store. Out: one frozen value, or None for a study that the store does not hold.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa

from server.store.record_kinds import DataBody, StudyBody
from server.store.schema import DOCUMENTS, SOURCES, STUDIES
from shared.config.study import StudyConfig

STALE_SECONDS: Final = 30
_FROM_STUDIES: Final = (
    "name", "digest", "simulation", "state", "why", "rounds_done", "rounds", "verdict", "decision", "started",
    "updated", "evidence",
)  # fmt: skip
_STATES: Final = {
    "running": ("▶", "running"),
    "completed": ("✓", "completed"),
    "failed": ("✕", "failed"),
    "stopped": ("■", "stopped"),
}
_VERDICTS: Final = {"accepted": ("✓", "accepted"), "held": ("✕", "held"), "none": ("—", "no verdict yet")}


@dataclass(frozen=True)
class Head:
    """One study; `config` is the study as all sites agreed on it, `data` what is said of its public data."""

    uid: str
    name: str
    digest: str
    simulation: bool
    state: str
    why: str
    rounds_done: int
    rounds: int
    verdict: str
    decision: str
    started: datetime
    updated: datetime
    evidence: str  # digest over all of its evidence; what a decision is bound to
    received: datetime  # when this store last heard of the study's source
    config: StudyConfig
    code_digest: str
    versions: dict[str, str]
    data: DataBody | None

    @property
    def state_badge(self) -> tuple[str, str, str]:
        """(class, shape, word) of the state."""
        return self.state, *_STATES.get(self.state, ("?", self.state))

    @property
    def verdict_badge(self) -> tuple[str, str, str]:
        """(class, shape, word) of the gate's verdict."""
        return self.verdict, *_VERDICTS.get(self.verdict, ("?", self.verdict))

    @property
    def share_done(self) -> float:
        """Rounds done of all, 0 to 1."""
        return min(1.0, self.rounds_done / self.rounds) if self.rounds else 0.0

    def seconds_since(self, now: datetime) -> float:
        """Seconds since the last record came."""
        return max(0.0, (now - self.received).total_seconds())

    def is_stale(self, now: datetime) -> bool:
        """Tell whether a running study has been silent for longer than it should."""
        return self.state == "running" and self.seconds_since(now) > STALE_SECONDS


def study_head(connection: sa.Connection, uid: str) -> Head | None:
    """Read the head of one study, in one statement."""
    study, data = DOCUMENTS.alias("study"), DOCUMENTS.alias("data")
    columns = [STUDIES.c[name] for name in ("study_uid", *_FROM_STUDIES)]
    row = connection.execute(
        sa.select(
            *columns, SOURCES.c.last_received, study.c.document.label("agreed"), data.c.document.label("data")
        )
        .join_from(STUDIES, SOURCES, STUDIES.c.source == SOURCES.c.source)
        .join(study, _named(study, "study"))
        .outerjoin(data, _named(data, "data"))
        .where(STUDIES.c.study_uid == uid)
    ).one_or_none()
    if row is None:
        return None
    values = row._asdict()
    agreed, said = StudyBody.model_validate(values.pop("agreed")), values.pop("data")
    return Head(
        uid=values.pop("study_uid"),
        received=values.pop("last_received"),
        config=agreed.config,
        code_digest=agreed.code_digest,
        versions=agreed.versions,
        data=None if said is None else DataBody.model_validate(said),
        **values,
    )


def _named(document: sa.FromClause, name: str) -> sa.ColumnElement[bool]:
    return sa.and_(document.c.study_uid == STUDIES.c.study_uid, document.c.name == name)
