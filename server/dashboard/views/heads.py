"""What stands above every page of a study: its name, how it stands, and how old its last record is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from fastapi import HTTPException

from server.store.schema import SOURCES, STUDIES


@dataclass(frozen=True)
class StudyHead:
    """A study in one line; `last_received` is this machine's clock, everything else the sender's."""

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
    last_received: datetime | None

    @property
    def is_running(self) -> bool:
        """Whether more records are expected."""
        return self.state == "running"

    def seconds_since(self, now: datetime | None = None) -> float | None:
        """Return how long ago the last record arrived here, in seconds."""
        if self.last_received is None:
            return None
        return max(0.0, ((now or datetime.now(UTC)) - self.last_received).total_seconds())


HEAD = sa.select(
    STUDIES.c.study_uid, STUDIES.c.name, STUDIES.c.simulation, STUDIES.c.state, STUDIES.c.why,
    STUDIES.c.rounds_done, STUDIES.c.rounds, STUDIES.c.verdict, STUDIES.c.decision, STUDIES.c.started,
    STUDIES.c.updated, SOURCES.c.last_received,
).outerjoin(SOURCES, SOURCES.c.source == STUDIES.c.source)  # fmt: skip


def study_head(connection: sa.Connection, study_uid: str) -> StudyHead:
    """Return one study's head; 404 where there is none."""
    row = connection.execute(HEAD.where(STUDIES.c.study_uid == study_uid)).one_or_none()
    if row is None:
        raise HTTPException(404)
    return head_of(row)


def head_of(row: Sequence[Any]) -> StudyHead:
    """Return a row of `HEAD` as a value."""
    return StudyHead(*tuple(row))
