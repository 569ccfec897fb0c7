"""Privacy spent over rounds, and a site's spend against its hospital's cap.

In: epsilon by site and round, from ledger statements. Out: SVG with its table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from server.metrics.intervals import Interval
from server.presentation.svg_charts import NUM_TONES, Figure, Line, line_figure, svg, tag

_BAR_WIDTH: Final = 160


@dataclass(frozen=True)
class Spend:
    """One site's staircase: (round, epsilon), None where no guarantee holds."""

    site: str
    points: tuple[tuple[int, float | None], ...]

    @property
    def last(self) -> float:
        """The newest known epsilon, 0 without one."""
        return next((value for _, value in reversed(self.points) if value is not None), 0.0)


def spend_figure(spends: Sequence[Spend], asked: float) -> Figure | None:
    """Draw the sites that spent most, one line each; what others spent lies below them and stands on the page.

    `asked` is the study's epsilon, drawn as a level.
    """
    shown = sorted((one for one in spends if one.points), key=lambda one: (-one.last, one.site))
    if not any(value is not None for one in shown for _, value in one.points):
        return None
    drawn = shown[:NUM_TONES]
    lines = [
        Line(
            one.site,
            tuple((float(number), Interval(value=value)) for number, value in one.points),
            steps=True,
        )
        for one in sorted(drawn, key=lambda one: one.site)
    ]
    rest = len(shown) - len(drawn)
    others = (
        f" The {len(drawn)} sites that spent most are drawn; {rest} spent less or as much." if rest else ""
    )
    return line_figure(
        "Privacy spent after each round",
        f"Epsilon of each site's ledger statements; a line can only climb.{others}",
        lines,
        x_name="round",
        y_name="epsilon",
        references=[("asked", asked)],
        y_range=(0, max(one.last for one in drawn)),
    )


def cap_bar(site: str, epsilon: float, cap: float) -> Markup:
    """Draw spent of allowed; past the cap the bar is full and the words say so."""
    width, share = _BAR_WIDTH - 8, min(1.0, epsilon / cap)
    parts = [
        tag("rect", "room", x=4, y=6, width=width, height=10, rx=5),
        tag("rect", "spent", x=4, y=6, width=max(width * share, 1), height=10, rx=5),
    ]
    words = f"epsilon {epsilon:.2f} of {cap:g}, {epsilon / cap:.0%} of the cap"
    return svg(
        f"Spent of the cap, {site}", words, _BAR_WIDTH, 22, Markup("").join(parts), kind="inline short"
    )
