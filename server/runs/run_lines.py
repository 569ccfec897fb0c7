"""One line of rounds.jsonl and one of events.jsonl, as those who come after the study read them.

In: a run's folder. Out: frozen values. A field that an older line lacks has its default here; one that no reader asks
for stays behind.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ConfigDict, Field

from server.metrics.intervals import Interval
from server.runs.run_folder import RunFolder, read_lines
from shared.config.values import Frozen


class Line(Frozen):
    """What of a line is read."""

    model_config = ConfigDict(extra="ignore")


class RoundFigures(Line):
    """The merged student after a round, on public test images that follow the rounds."""

    auc: Interval | None = None
    mask_area: float | None = None


class RoundLine(Line):
    """A closed round: who answered, who did not and why, what was spent and sent."""

    round: int
    answered: tuple[str, ...] = ()
    missing: dict[str, str] = Field(default_factory=dict)
    asked_again: tuple[str, ...] = ()
    epsilon: dict[str, float | None] = Field(default_factory=dict)
    num_bytes: dict[str, int] = Field(default_factory=dict, validation_alias="bytes")
    rounding: dict[str, float] = Field(default_factory=dict)
    seconds: float | None = None
    test: RoundFigures = RoundFigures()


class EventLine(Line):
    """Something worth knowing; `time` is ISO 8601 in UTC, `node` a number where no site's name is known."""

    event: str
    time: str = ""
    round: int | None = None
    site: str = ""
    node: str = ""
    why: str = ""
    outcome: str = "accepted"
    study: str = ""
    rounds: int | None = None
    sites: tuple[str, ...] = ()
    noised_counts: tuple[tuple[float, ...], ...] = ()
    noise_std: float = 0.0


def read_rounds(folder: RunFolder) -> Iterator[RoundLine]:
    """Yield closed rounds in the order in which they were written; one that ran again stands there twice."""
    return map(RoundLine.model_validate, read_lines(folder.rounds))


def read_events(folder: RunFolder) -> Iterator[EventLine]:
    """Yield all events in order."""
    return map(event_line, read_lines(folder.events))


def event_line(line: Mapping[str, Any]) -> EventLine:
    """Return one event."""
    return EventLine.model_validate(line)
