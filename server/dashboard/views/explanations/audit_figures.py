"""The audit's figures of one class: energy by region, what maps do to the answer, agreement, and drift.

In: the store. Out: bars with their tables, and the finding in words. What was not measured is said, never drawn.
"""

import math
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from server.dashboard.figures.bars import Bar, Group, bars_figure
from server.dashboard.maps.film import Film
from server.dashboard.views.explanations.map_words import of_class
from server.metrics.intervals import Interval
from server.presentation.formatting import NOT_MEASURED
from server.presentation.model_names import FLOORS, MAP_NAMES
from server.presentation.svg_charts import Figure, interval_text
from server.store.record_kinds import EVERY
from server.store.schema import FIGURES

_REGIONS: Final = {
    "lift": "into {region}",
    "lesion": "into lesions",
    "border": "into the border",
    "corners": "into the corners",
}
_CURVES: Final = {
    "insertion": "Insertion: showing what the map names first (more is better)",
    "deletion": "Deletion: hiding what the map names first (less is better)",
}
Found = Mapping[str, Interval]


class DriftRow(NamedTuple):
    """One figure of the change since the last accepted student."""

    name: str
    of: str
    label: str
    text: str


def audit_figures(
    connection: sa.Connection, uid: str, label: str
) -> tuple[dict[str, Interval], list[DriftRow]]:
    """Return the audit's figures of one class over all sources by name (`lift_student`), and those of drift."""
    rows = connection.execute(
        sa.select(
            FIGURES.c.of, FIGURES.c.name, FIGURES.c.subject, FIGURES.c.label, FIGURES.c.value, FIGURES.c.low,
            FIGURES.c.high, FIGURES.c.n, FIGURES.c.reason,
        ).where(
            FIGURES.c.study_uid == uid, FIGURES.c.of.in_(("audit", "drift")), FIGURES.c.from_source == EVERY,
            FIGURES.c.label.in_((label, EVERY)),
        ).order_by(FIGURES.c.id)
    ).all()  # fmt: skip
    found = {row.name: _interval(row) for row in rows if row.of == "audit" and row.label == label}
    drift = [
        DriftRow(
            row.name.replace("_", " "), row.subject, of_class(row.label), interval_text(_interval(row), 2)
        )
        for row in rows
        if row.of == "drift"
    ]
    return found, drift


def region_bars(found: Found, film: Film | None, label: str) -> Figure | None:
    """Draw energy over area by region and map, on one scale with 1 marked: what an even map has."""
    if not any(one.value is not None for name, one in found.items() if name.split("_")[0] in _REGIONS):
        return None
    region = "the outlined region" if film is None else film.region
    groups = [
        Group(
            f"Energy {words.format(region=region)}, times uniform",
            tuple(Bar(MAP_NAMES[one], found.get(f"{quantity}_{one}"), one in FLOORS) for one in MAP_NAMES),
        )
        for quantity, words in _REGIONS.items()
    ]
    edges = [
        one.high or one.value or 0
        for group in groups
        for bar in group.bars
        if (one := bar.interval) is not None
    ]
    describe = (
        "Share of each map's energy in a region, over the region's share of the picture: 1 is what an even map has. "
        f"{finding(found, film, label)}"
    )
    top = max(2.0, *edges)
    return bars_figure(
        f"How much of each map falls where, {of_class(label)}", describe, groups,
        ticks=range(math.ceil(top) + 1), mark=(1.0, "even"),
    )  # fmt: skip


def faithfulness_bars(found: Found, label: str) -> Figure | None:
    """Draw insertion and deletion of student and teacher beside random maps."""
    subjects = ("student", "teacher", "random")
    groups = [
        Group(
            words, tuple(Bar(MAP_NAMES[one], found.get(f"{curve}_{one}"), one in FLOORS) for one in subjects)
        )
        for curve, words in _CURVES.items()
    ]
    if not any(bar.interval and bar.interval.value is not None for group in groups for bar in group.bars):
        return None
    return bars_figure(
        f"Does the answer hang on what the map names? {of_class(label)}",
        "Area under the curve of the true class's probability. A map that names what decides is above random maps in "
        "insertion and below them in deletion. The teacher's map is judged on the teacher.",
        groups, ticks=(0, 0.25, 0.5, 0.75, 1),
    )  # fmt: skip


def agreement_bars(found: Found, label: str) -> Figure | None:
    """Draw how alike the student's map is to the teacher's and to the mask."""
    bars = tuple(
        Bar(f"with {words}", found.get(f"agreement_{one}"))
        for one, words in (("teacher", "the teacher's map"), ("explainer", "the explainer's mask"))
    )
    if not any(bar.interval and bar.interval.value is not None for bar in bars):
        return None
    return bars_figure(
        f"Agreement of the student's map, {of_class(label)}",
        "Rank correlation over the cells of each image, averaged: 1 is the same order, 0 none, −1 the reverse.",
        [Group("Rank correlation", bars)], ticks=(-1, -0.5, 0, 0.5, 1), mark=(0.0, "none"),
    )  # fmt: skip


def finding(found: Found, film: Film | None, label: str) -> str:
    """Say the main finding: how much of the student's energy lies in the region, and whether that is more than even."""
    region = "the outlined region" if film is None else film.region
    lift = found.get("lift_student")
    if lift is None or lift.value is None:
        why = f": {lift.reason}" if lift is not None and lift.reason else ""
        return (
            f"How much of the student's energy for {of_class(label)} lies in {region} is {NOT_MEASURED}{why}."
        )
    times = f"{lift.value:.2f} times as much energy into {region} as chance"
    start = f"The student's map for {of_class(label)} puts {times}"
    if lift.low is None or lift.high is None:
        return f"{start}; {lift.reason or 'no interval was measured'}, so it may be chance."
    said = f"{start}; 95 of 100 such intervals hold the true value: {lift.low:.2f} to {lift.high:.2f}."
    if lift.low > 1:
        return f"{said} That is more than an even map would."
    return f"{said} That is less than an even map would." if lift.high < 1 else f"{said} It may be chance."


def beside(found: Found) -> str:
    """Say what the others reach, so that the finding has a measure."""
    lifts = {one: found[f"lift_{one}"] for one in MAP_NAMES if f"lift_{one}" in found}
    most = max((one.n for one in lifts.values()), default=0)

    def reaches(one: str, words: str) -> str:
        lift = lifts.get(one)
        if lift is None or lift.value is None:
            return f"{words} {NOT_MEASURED}"
        return f"{words} {lift.value:.2f}" + (
            f" (on {lift.n} of {most} images alone)" if 2 * lift.n < most else ""
        )

    looking = f"{reaches('teacher', 'The teacher reaches')}, {reaches('explainer', 'the explainer’s mask')}"
    blind = f"{reaches('random', 'random maps reach')}, {reaches('centre', 'a plain bump in the middle')}"
    said = f"{looking}. Judge both by maps that look at nothing: {blind}."
    ratio = found.get("lift_ratio")
    if ratio is None or ratio.value is None:
        return said
    times = interval_text(ratio, 2)
    return f"{said} On the same images the student’s maps put {times} times as much there as random maps."


def _interval(row: Any) -> Interval:
    return Interval(value=row.value, low=row.low, high=row.high, n=row.n, reason=row.reason)
