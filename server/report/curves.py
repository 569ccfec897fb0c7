"""The report's curves over rounds: privacy spent, mask area.

In: a `Summary`. Out: figures with their tables, or None where too little was measured for a curve.
"""

from server.metrics.intervals import Interval
from server.presentation.svg_charts import Figure, Line, line_figure
from server.report.stated_spend import sites
from server.runs.summary import Summary


def spend_figure(summary: Summary) -> Figure | None:
    """Epsilon of every site after each round: a staircase that only climbs."""
    lines = [
        Line(
            site,
            tuple(
                (float(one.round), Interval(value=one.epsilon[site]))
                for one in summary.rounds
                if site in one.epsilon
            ),
            steps=True,
        )
        for site in sites(summary)
    ]
    lines = [line for line in lines if any(one.value is not None for _, one in line.points)]
    if not lines:
        return None
    top = max(one.value or 0 for line in lines for _, one in line.points)
    return line_figure(
        "Privacy spent after each round",
        "Epsilon of each site's last ledger statement after each round; a line that stays level had no newer one.",
        lines,
        x_name="round",
        y_name="epsilon",
        y_range=(0, top or 1),
    )


def mask_figure(summary: Summary) -> Figure | None:
    """Mean mask area after each round: 1 is a mask that hides nothing."""
    points = tuple(
        (float(one.round), Interval(value=one.mask_area))
        for one in summary.rounds
        if one.mask_area is not None
    )
    if len(points) < 2:
        return None
    return line_figure(
        "Mask area after each round",
        "Mean share of the image that the explainer lets through; 1 hides nothing and explains nothing.",
        [Line("mask area", points)],
        x_name="round",
        y_name="mean of the mask",
        y_range=(0, 1),
    )
