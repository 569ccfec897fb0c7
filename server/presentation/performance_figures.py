"""AUC on the public test set as rows and a curve: of every model, of pairs, and of the student after each round.

In: intervals by the keys of `model_names`. Out: text and drawings, the same on report and dashboard.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from server.metrics.intervals import Interval
from server.presentation.formatting import NOT_MEASURED
from server.presentation.model_names import OWN, TRIVIAL, model_name, model_place
from server.presentation.svg_charts import Figure, Line, interval_bar, interval_text, line_figure


@dataclass(frozen=True)
class AucRow:
    """One model's AUC; `kind` is `main` for the study's own student, `floor` for the trivial model, else empty."""

    key: str
    name: str
    kind: str
    text: str
    bar: Markup
    n: int


@dataclass(frozen=True)
class AucTable:
    """Rows of all models on one scale from `low` to 1."""

    low: float
    rows: tuple[AucRow, ...]


@dataclass(frozen=True)
class DifferenceRow:
    """One model less another on the same patients, drawn around zero, and what may be said of it."""

    first: str
    second: str
    text: str
    bar: Markup
    said: str


def row_kind(key: str, known: Iterable[str]) -> str:
    """Tell the study's own student (`main`) and the floor from other models."""
    own = next((one for one in OWN if one in set(known)), None)
    return "main" if key == own else "floor" if key == TRIVIAL else ""


def auc_table(found: Mapping[str, Interval]) -> AucTable:
    """Return every measured model in the order of a report; the scale begins at 0.4, or at 0 where an interval does."""
    low = 0.0 if any(one.low is not None and one.low < 0.4 for one in found.values()) else 0.4
    return AucTable(
        low,
        tuple(
            AucRow(
                key=key,
                name=model_name(key),
                kind=row_kind(key, found),
                text=interval_text(one, 2),
                bar=interval_bar(f"AUC, {model_name(key)}", one, low, 1, marks=(0.5,)),
                n=one.n,
            )
            for key, one in sorted(found.items(), key=lambda pair: model_place(pair[0]))
        ),
    )


def difference_rows(pairs: Iterable[tuple[str, str, Interval]]) -> tuple[DifferenceRow, ...]:
    """Return (first, second, first less second) as rows; 'better' is said only where the interval leaves zero out."""
    return tuple(_difference(model_name(first), model_name(second), one) for first, second, one in pairs)


def _difference(first: str, second: str, one: Interval) -> DifferenceRow:
    reach = max([0.05, *(abs(edge) for edge in (one.low, one.high, one.value) if edge is not None)])
    bar = interval_bar("difference of AUC", one, -reach, reach, marks=(0,))
    if one.low is None or one.high is None:
        said = NOT_MEASURED
    else:
        said = (
            "first is better"
            if one.low > 0
            else "second is better"
            if one.high < 0
            else "no difference shown"
        )
    return DifferenceRow(first, second, interval_text(one), bar, said)


def learning_curve(
    rounds: Sequence[tuple[int, Interval]], teacher: Interval | None, warm_start: Interval | None
) -> Figure | None:
    """Test AUC after each round, from the warm start on where it was measured, with both levels; None below two."""
    points = [(float(number), one) for number, one in rounds if one.value is not None]
    starts = bool(points) and points[0][0] == 0.0
    if not starts and warm_start is not None and warm_start.value is not None:
        points = [(0.0, warm_start), *points]
    if len(points) < 2:
        return None
    levels = [("teacher", teacher), ("warm start", warm_start)]
    return line_figure(
        "Test AUC after each round",
        _which_images({one.n for _, one in rounds}, {one.n for _, one in levels if one is not None}),
        [Line("student", tuple(points))],
        x_name="round",
        y_name="AUC on the public test set",
        references=[(name, one.value) for name, one in levels if one is not None and one.value is not None],
    )


def _which_images(followed: set[int], whole: set[int]) -> str:
    """Say on how many patients the line is and on how many the levels, where they differ."""
    band = "The line, with its 95 % band (resampled patients), is the student"
    if not whole:
        return f"{band} on the public test images that follow the rounds."
    if followed == whole:
        return f"{band}; dashed lines are teacher and warm start."
    patients, all_patients = (" or ".join(map(str, sorted(counts))) for counts in (followed, whole))
    return (
        f"{band} on the part of the test set that follows the rounds ({patients} patients); dashed lines are teacher "
        f"and warm start on all of it ({all_patients} patients), so a line and a level may differ by that alone."
    )
