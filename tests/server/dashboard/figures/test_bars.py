import re

from server.dashboard.figures.bars import Bar, Group, bars_figure
from server.metrics.intervals import Interval

GROUPS = [
    Group("Energy into the lungs", (
        Bar("student", Interval(value=1.5, low=1.0, high=2.0, n=12)),
        Bar("random", Interval(value=1.0, low=0.9, high=1.1, n=12), floor=True),
        Bar("mask", None),
        Bar("centre", Interval(value=None, reason="no region")),
    )),
]  # fmt: skip


def numbers(text: str, name: str) -> list[float]:
    return [float(one) for one in re.findall(rf'{name}="([\d.]+)"', text)]


def test_bars_lie_on_the_scale_of_their_ticks() -> None:
    """By hand: on a scale from 0 to 4, the interval 1 to 2 begins at a quarter and is a quarter long."""
    drawn = str(bars_figure("t", "d", GROUPS, ticks=range(5)).svg)
    grid = sorted(numbers("".join(re.findall(r'<line class="grid"[^>]*>', drawn)), "x1"))
    bar = re.findall(r'<rect class="bar"[^>]*>', drawn)[0]
    assert abs(numbers(bar, " x")[0] - grid[1]) < 0.11
    assert abs(numbers(bar, "width")[0] - (grid[4] - grid[0]) / 4) < 0.11
    assert abs(numbers(drawn, "cx")[0] - (grid[1] + grid[2]) / 2) < 0.11


def test_what_was_not_measured_is_said_and_not_drawn() -> None:
    """In the drawing by name, in the table with its reason; never as a bar at zero."""
    one = bars_figure("t", "d", GROUPS, ticks=range(5))
    assert "not measured: mask, centre" in str(one.svg)
    assert str(one.svg).count('class="dot"') == 2
    assert [row[1:] for row in one.rows][2:] == [
        ("mask", "0", "not measured"),
        ("centre", "0", "not measured: no region"),
    ]


def test_floors_are_told_apart() -> None:
    """What is there to be compared with is quieter, and the table has every figure with its number of images."""
    one = bars_figure("t", "d", GROUPS, ticks=range(5), mark=(1.0, "even"))
    assert str(one.svg).count('<g class="floor">') == 1
    assert ">even</text>" in str(one.svg)
    assert one.rows[0] == ("Energy into the lungs", "student", "12", "1.50 (1.00 to 2.00)")
