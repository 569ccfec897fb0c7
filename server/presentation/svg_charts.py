"""The report's figures as inline SVG: lines with bands, interval bars, a reliability diagram.

In: public figures. Out: markup that needs no script and no style but the page's classes, so that it follows
light, dark and print; each figure carries a title, a description and the table it was drawn from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from server.metrics.intervals import TOO_FEW, Bin, Interval

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 190, 14, 40
NUM_TONES = 6
MOST_POINTS = 400  # of one line; beyond about two points a pixel nothing is seen


@dataclass(frozen=True)
class Figure:
    """A picture, what it shows in a sentence, and the numbers in it."""

    title: str
    describe: str
    svg: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Line:
    """One named line over x; `low` and `high` draw a band, `steps` a staircase."""

    name: str
    points: tuple[tuple[float, Interval], ...]
    steps: bool = False


@dataclass(frozen=True)
class _Frame:
    """Maps data to the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]

    def px(self, value: float) -> float:
        span = (self.x[1] - self.x[0]) or 1
        return LEFT + (value - self.x[0]) / span * (WIDTH - LEFT - RIGHT)

    def py(self, value: float) -> float:
        span = (self.y[1] - self.y[0]) or 1
        return HEIGHT - BOTTOM - (value - self.y[0]) / span * (HEIGHT - TOP - BOTTOM)


def line_figure(
    title: str,
    describe: str,
    lines: Sequence[Line],
    *,
    x_name: str,
    y_name: str,
    references: Sequence[tuple[str, float]] = (),
    y_range: tuple[float, float] | None = None,
) -> Figure:
    """Draw lines with 95 % bands and dashed reference levels, each named at its right end."""
    lines = [Line(line.name, _thin(line.points), line.steps) for line in lines]
    points = [(x, one) for line in lines for x, one in line.points if one.value is not None]
    levels = [edge for _, one in points for edge in (one.value, one.low, one.high) if edge is not None]
    levels += [level for _, level in references]
    xs = [x for x, _ in points] or [0.0, 1.0]
    frame = _Frame((min(xs), max(xs)), _rounded([*y_range, *levels] if y_range else levels))
    parts = [_grid(frame, x_name, y_name)]
    labels = []
    for name, level in references:
        parts.append(tag("line", "ref", x1=LEFT, x2=WIDTH - RIGHT, y1=frame.py(level), y2=frame.py(level)))
        labels.append((frame.py(level), f"{name} {level:.2f}", "ref-name"))
    for index, line in enumerate(lines):
        tone = f"t{index % NUM_TONES}"
        parts.append(_band(frame, line, tone))
        parts.append(_line(frame, line, tone))
        last = next((one.value for _, one in reversed(line.points) if one.value is not None), None)
        if last is not None:
            labels.append((frame.py(last), f"{line.name} {last:.2f}", f"name {tone}"))
    parts.append(_names(labels))
    head = (x_name, *(line.name for line in lines), *(name for name, _ in references))
    rows = _rows(lines, [f"{level:.3f}" for _, level in references])
    return Figure(title, describe, svg(title, describe, WIDTH, HEIGHT, Markup("").join(parts)), head, rows)


def interval_bar(
    name: str,
    interval: Interval,
    low: float,
    high: float,
    marks: Sequence[float] = (),
) -> Markup:
    """Draw one interval on a common scale from `low` to `high`, for a cell beside its numbers."""
    width, height = 240, 22

    def px(value: float) -> float:
        return 4 + (min(max(value, low), high) - low) / ((high - low) or 1) * (width - 8)

    parts = [tag("line", "axis", x1=4, x2=width - 4, y1=11, y2=11)]
    parts += [tag("line", "mark", x1=px(mark), x2=px(mark), y1=2, y2=20) for mark in marks]
    if interval.low is not None and interval.high is not None:
        left, right = px(interval.low), px(interval.high)
        parts.append(tag("rect", "bar", x=left, y=7, width=max(right - left, 1), height=8, rx=4))
    if interval.value is not None:
        parts.append(tag("circle", "dot", cx=px(interval.value), cy=11, r=4))
    return svg(name, interval_text(interval), width, height, Markup("").join(parts), kind="inline")


def reliability_figure(title: str, bins: Sequence[Bin]) -> Figure:
    """Draw the share of right answers over the model's confidence; the diagonal is perfect calibration."""
    size, left, bottom, top = 300, 44, 40, 26
    side = size - left - 12

    def px(value: float) -> float:
        return left + value * side

    def py(value: float) -> float:
        return size - bottom - value * (size - bottom - top)

    parts = [
        tag("line", "ref", x1=px(0), y1=py(0), x2=px(1), y2=py(1)),
        *(tag("line", "grid", x1=px(0), x2=px(1), y1=py(level), y2=py(level)) for level in (0, 0.5, 1)),
        *(label(f"{level:g}", px(0) - 8, py(level) + 4, "tick end") for level in (0, 0.5, 1)),
        *(label(f"{level:g}", px(level), size - bottom + 18, "tick middle") for level in (0, 0.5, 1)),
        label("confidence", px(0.5), size - 4, "axis-name middle"),
        label("share right", px(0) - 36, 10, "axis-name"),
    ]
    most = max((one.num_images for one in bins), default=1)
    for one in bins:
        radius = 3 + 9 * math.sqrt(one.num_images / most)
        parts.append(tag("circle", "bubble", cx=px(one.confidence), cy=py(one.accuracy), r=radius))
    rows = tuple((f"{b.confidence:.3f}", f"{b.accuracy:.3f}", str(b.num_images)) for b in bins)
    describe = (
        "Each circle is one bin of confidence; its area is the number of images; on the line is perfect."
    )
    drawing = svg(title, describe, size, size, Markup("").join(parts), kind="square")
    return Figure(title, describe, drawing, ("mean confidence", "share right", "images"), rows)


def interval_text(interval: Interval | None, digits: int = 3) -> str:
    """Say an interval in words: '0.842 (0.781 to 0.897)', or why there is none."""
    if interval is None:
        return "not measured"
    if interval.value is None:
        return f"not measured: {interval.reason}" if interval.reason else "not measured"
    value = f"{interval.value:.{digits}f}"
    if interval.low is None or interval.high is None:
        return f"{value} (n = {interval.n}: too few)" if interval.reason == TOO_FEW else value
    return f"{value} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def _thin(points: tuple[tuple[float, Interval], ...]) -> tuple[tuple[float, Interval], ...]:
    if len(points) <= MOST_POINTS:
        return points
    keep = sorted({round(k * (len(points) - 1) / (MOST_POINTS - 1)) for k in range(MOST_POINTS)})
    return tuple(points[k] for k in keep)


def _rounded(levels: Sequence[float]) -> tuple[float, float]:
    """Widen a range to multiples of the step that the widened range is drawn with."""
    if not levels:
        return 0.0, 1.0
    low, high = min(levels), max(levels)
    while True:
        step = _step(high - low)
        wide = math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step
        if wide[0] == wide[1]:
            wide = wide[0], wide[0] + step
        if math.isclose(_step(wide[1] - wide[0]), step):
            return wide
        low, high = wide


def _step(span: float) -> float:
    """Return 1, 2 or 5 times a power of ten, so that a span has about four steps."""
    raw = (span or 1) / 4
    power = 10.0 ** math.floor(math.log10(raw))
    return next(power * k for k in (1, 2, 5, 10) if power * k >= raw * 0.999)


def _grid(frame: _Frame, x_name: str, y_name: str) -> Markup:
    step = _step(frame.y[1] - frame.y[0])
    digits = next(k for k in range(12) if math.isclose(round(step, k), step))
    count = round((frame.y[1] - frame.y[0]) / step)
    parts = []
    for level in (frame.y[0] + k * step for k in range(count + 1)):
        y = frame.py(level)
        parts += [
            tag("line", "grid", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y),
            label(f"{level:.{digits}f}", LEFT - 8, y + 4, "tick end"),
        ]
    x_step = max(1, round(_step((frame.x[1] - frame.x[0]) or 1)))
    parts += [
        *(
            label(str(x), frame.px(x), HEIGHT - BOTTOM + 18, "tick middle")
            for x in range(math.ceil(frame.x[0] / x_step) * x_step, math.floor(frame.x[1]) + 1, x_step)
        ),
        label(x_name, (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, "axis-name middle"),
        label(y_name, LEFT, 9, "axis-name"),
    ]
    return Markup("").join(parts)


def _band(frame: _Frame, line: Line, tone: str) -> Markup:
    known = [(x, one.low, one.high) for x, one in line.points if one.low is not None and one.high is not None]
    if len(known) < 2:
        return Markup("")
    there = [f"{frame.px(x):.1f},{frame.py(high):.1f}" for x, _, high in known]
    back = [f"{frame.px(x):.1f},{frame.py(low):.1f}" for x, low, _ in reversed(known)]
    return Markup('<polygon class="band {}" points="{}"/>').format(tone, " ".join(there + back))


def _line(frame: _Frame, line: Line, tone: str) -> Markup:
    known = [(frame.px(x), frame.py(one.value)) for x, one in line.points if one.value is not None]
    path = ""
    for index, (x, y) in enumerate(known):
        stair = f"H{x:.1f}" if line.steps and index else ""
        path += f"M{x:.1f},{y:.1f}" if not index else f"{stair}L{x:.1f},{y:.1f}"
    dots = [tag("circle", f"point {tone}", cx=x, cy=y, r=3) for x, y in known] if len(known) <= 40 else []
    return Markup('<path class="line {}" d="{}"/>').format(tone, path) + Markup("").join(dots)


def _names(labels: Sequence[tuple[float, str, str]]) -> Markup:
    """Write names at the right end, pushed apart so that none covers another."""
    placed: list[tuple[float, str, str]] = []
    for y, text, kind in sorted(labels):
        placed.append((max(y, placed[-1][0] + 16) if placed else max(y, TOP + 4), text, kind))
    over = max(0.0, placed[-1][0] - (HEIGHT - BOTTOM)) if placed else 0.0
    return Markup("").join(
        label(text[:28], WIDTH - RIGHT + 10, y - over + 4, kind) for y, text, kind in placed
    )


def _rows(lines: Sequence[Line], levels: list[str]) -> tuple[tuple[str, ...], ...]:
    xs = sorted({x for line in lines for x, _ in line.points})
    values = [dict(line.points) for line in lines]
    return tuple((f"{x:g}", *(interval_text(own.get(x)) for own in values), *levels) for x in xs)


def svg(title: str, describe: str, width: int, height: int, inside: Markup, *, kind: str = "wide") -> Markup:
    """Wrap a drawing with its name and description."""
    return Markup(
        '<svg class="fig {}" role="img" viewBox="0 0 {} {}" aria-label="{}"><title>{}</title>'
        "<desc>{}</desc>{}</svg>"
    ).format(kind, width, height, f"{title}: {describe}", title, describe, inside)


def tag(name: str, kind: str, **numbers: float) -> Markup:
    """Write one element with a class and numbers as attributes."""
    attributes = " ".join(f'{key}="{value:.1f}"' for key, value in numbers.items())
    return Markup(f'<{name} class="{kind}" {attributes}/>')  # noqa: S704 - our own words and numbers: escaping is slow


def label(text: str, x: float, y: float, kind: str) -> Markup:
    """Write a word into a drawing."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, text)
