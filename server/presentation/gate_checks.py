"""The checks of the gate as rows: what was measured, on which side of its limit it had to lie, and the outcome.

In: checks as the gate wrote them. Out: text and a drawing for each, the same on report, model card and dashboard.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from server.metrics.gate_result import Check
from server.presentation.formatting import NOT_MEASURED
from server.presentation.limit_bar import limit_bar

STATES: Final = {True: "passed", False: "failed", None: "does not apply"}
_MARKS: Final = {True: "✓", False: "✕", None: "—"}
_SIDES: Final = {"least": "at least ", "most": "at most ", None: ""}  # None: of before, which did not say


@dataclass(frozen=True)
class CheckLine:
    """One check; `mark` is a shape and `state` says the same, so colour is never needed."""

    name: str
    mark: str
    state: str
    value: str
    limit: str
    bar: Markup | None
    sentence: str


def check_lines(checks: Iterable[Check]) -> tuple[CheckLine, ...]:
    """Return a row for each check; one that does not apply or was not measured stays visible."""
    return tuple(
        CheckLine(
            name=one.name,
            mark=_MARKS[one.passed],
            state=STATES[one.passed],
            value=_value(one),
            limit="–" if one.threshold is None else f"{_SIDES[one.side]}{one.threshold:g}",
            bar=limit_bar(one.name, one.value, one.threshold, one.side),
            sentence=one.sentence,
        )
        for one in checks
    )


def _value(one: Check) -> str:
    if one.value is not None:
        return f"{one.value:.3f}"
    return "–" if one.threshold is None or one.passed is None else NOT_MEASURED
