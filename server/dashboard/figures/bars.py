"""Figures with their intervals, as bars on one scale: which map puts how much where.

In: intervals by group and name. Out: a figure with its table. What was not measured stands there in words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from server.metrics.intervals import Interval
from server.presentation.svg_charts import Figure, interval_text, label, svg, tag

_WIDTH, _LEFT, _RIGHT, _TOP, _FOOT = 1100, 240, 220, 24, 30
_ROW, _GROUP = 26, 32


@dataclass(frozen=True)
class Bar:
    """One figure; a `floor` is drawn quieter, because it is there to be compared with."""

    name: str
    interval: Interval | None
    floor: bool = False

    @property
    def is_known(self) -> bool:
        """Tell whether there is anything to draw."""
        return self.interval is not None and self.interval.value is not None


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
    ticks: Sequence[float],
    mark: tuple[float, str] | None = None,
) -> Figure:
    """Draw one bar a figure, a dot at its value, between the first and the last tick; a dashed line at `mark`."""

    def px(value: float) -> float:
        part = (min(max(value, ticks[0]), ticks[-1]) - ticks[0]) / (ticks[-1] - ticks[0])
        return _LEFT + part * (_WIDTH - _LEFT - _RIGHT)

    parts, top = [], float(_TOP)
    for group in groups:
        parts.append(label(group.name, 0, top + 20, "name"))
        top += _GROUP
        known = [bar for bar in group.bars if bar.is_known]
        for bar in known:
            parts.append(_bar(bar, top, px))
            top += _ROW
        missing = [bar.name for bar in group.bars if not bar.is_known]
        if missing:
            parts.append(label(f"not measured: {', '.join(missing)}", 14, top + 16, "tick over"))
            top += _ROW
    axis = [tag("line", "grid", x1=px(one), x2=px(one), y1=_TOP + 4, y2=top + 4) for one in ticks]
    axis += [label(f"{one:g}".replace("-", "−"), px(one), top + 20, "tick middle") for one in ticks]
    if mark is not None:
        axis.append(tag("line", "ref", x1=px(mark[0]), x2=px(mark[0]), y1=_TOP - 2, y2=top + 4))
        axis.append(label(mark[1], px(mark[0]), _TOP - 8, "tick middle"))
    rows = tuple(
        (group.name, bar.name, str(bar.interval.n) if bar.interval else "0", interval_text(bar.interval, 2))
        for group in groups
        for bar in group.bars
    )
    drawing = svg(
        title, describe, _WIDTH, round(top) + _FOOT, Markup("").join([*axis, *parts]), kind="wide spread"
    )
    return Figure(title, describe, drawing, ("figure", "of", "images", "value (95 % interval)"), rows)


def _bar(bar: Bar, top: float, px: Callable[[float], float]) -> Markup:
    y, one = top + _ROW / 2, bar.interval
    if one is None or one.value is None:
        return Markup("")
    parts = [label(bar.name, 14, y + 4, "tick")]
    if one.low is not None and one.high is not None:
        left, right = px(one.low), px(one.high)
        parts.append(tag("rect", "bar", x=left, y=y - 6, width=max(right - left, 1.5), height=12, rx=4))
    parts.append(tag("circle", "dot", cx=px(one.value), cy=y, r=4.5))
    parts.append(label(interval_text(one, 2), _WIDTH - _RIGHT + 16, y + 4, "value"))
    return Markup('<g class="{}">{}</g>').format("floor" if bar.floor else "main", Markup("").join(parts))
