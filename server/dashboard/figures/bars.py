"""Figures with their intervals, as bars on one scale: which map puts how much where.

In: intervals by group and name. Out: a figure with its table. What was not measured stands there in words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from server.figures import Figure, interval_text, label, svg, tag
from server.intervals import Interval

_WIDTH, _LEFT, _RIGHT, _ROW, _GROUP, _FOOT = 920, 230, 210, 26, 32, 40
_TICKS: Final = 4


@dataclass(frozen=True)
class Bar:
    """One figure; a `floor` is drawn quieter, because it is there to be compared with."""

    name: str
    interval: Interval | None
    floor: bool = False


@dataclass(frozen=True)
class Group:
    """Bars of one quantity."""

    name: str
    bars: tuple[Bar, ...]


def bars_figure(
    title: str,
    describe: str,
    groups: Sequence[Group],
    *,
    scale: tuple[float, float],
    mark: tuple[float, str] | None = None,
) -> Figure:
    """Draw one bar a figure from low to high, a dot at its value, and a dashed line at `mark`."""
    low, high = scale
    span = _WIDTH - _LEFT - _RIGHT

    def px(value: float) -> float:
        return _LEFT + (min(max(value, low), high) - low) / (high - low) * span

    height = sum(_GROUP + _ROW * len(group.bars) for group in groups) + _FOOT
    bottom = height - _FOOT + 6
    levels = [low + (high - low) * k / _TICKS for k in range(_TICKS + 1)]
    parts = [tag("line", "grid", x1=px(one), x2=px(one), y1=20, y2=bottom) for one in levels]
    parts += [label(f"{one:.3g}", px(one), bottom + 16, "tick middle") for one in levels]
    if mark is not None:
        parts.append(tag("line", "ref", x1=px(mark[0]), x2=px(mark[0]), y1=16, y2=bottom))
        parts.append(label(mark[1], px(mark[0]), 11, "tick middle"))
    top = 0.0
    for group in groups:
        parts.append(label(group.name, 0, top + 22, "name"))
        top += _GROUP
        for bar in group.bars:
            parts.append(_bar(bar, top, px))
            top += _ROW
    rows = tuple(
        (group.name, bar.name, str(bar.interval.n) if bar.interval else "0", interval_text(bar.interval, 2))
        for group in groups
        for bar in group.bars
    )
    drawing = svg(title, describe, _WIDTH, round(height), Markup("").join(parts))
    return Figure(title, describe, drawing, ("figure", "of", "images", "value (95 % interval)"), rows)


def _bar(bar: Bar, top: float, px: Callable[[float], float]) -> Markup:
    y = top + _ROW / 2
    text = interval_text(bar.interval, 2)
    parts = [label(bar.name, 14, y + 4, "tick")]
    if bar.interval is None or bar.interval.value is None:
        parts.append(label("not measured", _LEFT + 6, y + 4, "tick"))
        return Markup("").join(parts)
    if bar.interval.low is not None and bar.interval.high is not None:
        left, right = px(bar.interval.low), px(bar.interval.high)
        parts.append(tag("rect", "bar", x=left, y=y - 6, width=max(right - left, 1.5), height=12, rx=4))
    parts.append(tag("circle", "dot", cx=px(bar.interval.value), cy=y, r=4.5))
    parts.append(label(text, _WIDTH - _RIGHT + 16, y + 4, "value"))
    kind = "floor" if bar.floor else "main"
    return Markup('<g class="{}">{}</g>').format(kind, Markup("").join(parts))
