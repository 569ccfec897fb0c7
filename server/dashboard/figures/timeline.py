"""Who took part, round by round: a strip a site, thinned to what a screen can show.

In: for each site and stretch of rounds, how many it answered and missed. Out: a figure with its table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from server.presentation.svg_charts import Figure, label, svg

MOST_COLUMNS: Final = 120
_MOST_CELLS: Final = 2400
_MOST_ROWS: Final = 200  # of the table beside the drawing
_NAME, _WIDTH, _ROW, _TOP, _BOTTOM = 150, 600, 20, 8, 36


@dataclass(frozen=True)
class Stretch:
    """What one site did in rounds `first` to `last`: answers accepted, and rounds in which it was missing."""

    site: str
    first: int
    last: int
    accepted: int
    missing: int

    @property
    def word(self) -> str:
        """Say it in a word, so that no colour is needed."""
        if not self.accepted + self.missing:
            return "not asked"
        if not self.missing:
            return "took part"
        return (
            "missing" if not self.accepted else f"missing in {self.missing} of {self.accepted + self.missing}"
        )


def rounds_a_mark(num_rounds: int, num_sites: int) -> int:
    """Return how many rounds one mark stands for, so that many sites do not make a page that nobody can load."""
    columns = max(24, min(MOST_COLUMNS, _MOST_CELLS // max(num_sites, 1)))
    return max(1, -(-num_rounds // columns))


def timeline_figure(stretches: Sequence[Stretch], num_rounds: int) -> Figure | None:
    """Draw a full bar for taking part, a hollow one with a cross for missing, a half bar for both."""
    if not stretches:
        return None
    sites = sorted({one.site for one in stretches})
    starts = sorted({one.first for one in stretches})
    column = _WIDTH / max(len(starts), 1)
    height = _TOP + _ROW * len(sites) + _BOTTOM
    parts = [
        label(site[:22], _NAME - 8, _TOP + _ROW * row + 14, "tick end") for row, site in enumerate(sites)
    ]
    places = {start: index for index, start in enumerate(starts)}
    rows = {site: index for index, site in enumerate(sites)}
    corners = [(_NAME + places[one.first] * column, _TOP + _ROW * rows[one.site] + 3.0) for one in stretches]
    parts.append(_marks(stretches, corners, max(column - 1, 0.8)))
    for index in _ticks(len(starts)):
        x = _NAME + (index + 0.5) * column
        parts.append(label(str(starts[index]), x, height - _BOTTOM + 16, "tick middle"))
    parts.append(label("round", _NAME + _WIDTH / 2, height - 4, "axis-name middle"))
    missed = sum(one.missing for one in stretches)
    width = max(one.last - one.first + 1 for one in stretches)
    each = "one round" if width == 1 else f"up to {width} rounds"
    table, left_out = _table(stretches)
    describe = (
        f"{len(sites)} sites over {num_rounds} rounds, {each} a mark: filled took part, a cross was missing, half "
        f"filled both; {missed} answers were missing."
    ) + (f" The table leaves out {left_out} stretches; the CSV file has every round." if left_out else "")
    title = "Who took part"
    drawing = svg(title, describe, _NAME + _WIDTH + 8, height, Markup("").join(parts))
    return Figure(title, describe, drawing, ("site", "rounds", "accepted", "missing", "in a word"), table)


def _marks(stretches: Sequence[Stretch], corners: Sequence[tuple[float, float]], width: float) -> Markup:
    """Draw all marks as three paths: thousands of elements would make a page that is slow to load."""
    full, frames, crosses = [], [], []
    height = _ROW - 6.0
    for one, (x, y) in zip(stretches, corners, strict=True):
        asked = one.accepted + one.missing
        if not asked:
            continue
        share = height * one.accepted / asked
        if one.accepted:
            full.append(f"M{x:.1f},{y + height - share:.1f}h{width:.1f}v{share:.1f}h{-width:.1f}z")
        if one.missing:
            frames.append(f"M{x:.1f},{y:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z")
        if not one.accepted:
            side = 2 * min(width, height) / 3
            left, top = x + (width - side) / 2, y + (height - side) / 2
            crosses.append(
                f"M{left:.1f},{top:.1f}l{side:.1f},{side:.1f}m0,{-side:.1f}l{-side:.1f},{side:.1f}"
            )
    paths = (("took-part", full), ("was-missing", frames), ("cross", crosses))
    return Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(kind, "".join(pieces)) for kind, pieces in paths if pieces
    )


def _table(stretches: Sequence[Stretch]) -> tuple[tuple[tuple[str, ...], ...], int]:
    """Return the rows, those with something missing first to stay, and how many had to be left out."""
    told = _told(stretches)
    kept = told if len(told) <= _MOST_ROWS else [one for one in told if one.missing][:_MOST_ROWS]
    rows = tuple((one.site, _rounds(one), str(one.accepted), str(one.missing), one.word) for one in kept)
    return rows, len(told) - len(kept)


def _told(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Join what follows alike, so that the table is short: a site that never missed is one line."""
    told: list[Stretch] = []
    for one in sorted(stretches, key=lambda each: (each.site, each.first)):
        last = told[-1] if told else None
        if last and last.site == one.site and (last.missing == 0) == (one.missing == 0):
            told[-1] = Stretch(
                one.site, last.first, one.last, last.accepted + one.accepted, last.missing + one.missing
            )
        else:
            told.append(one)
    return told


def _rounds(one: Stretch) -> str:
    return str(one.first) if one.first == one.last else f"{one.first} to {one.last}"


def _ticks(count: int) -> list[int]:
    """Up to ten columns that bear a number, the first and the last among them."""
    many = min(count, 10)
    return sorted({round(k * (count - 1) / max(many - 1, 1)) for k in range(many)})
