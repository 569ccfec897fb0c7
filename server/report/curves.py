"""The report's curves over rounds: test AUC, privacy spent, mask area.

In: a `Summary`. Out: figures with their tables, or None where too little was measured for a curve.
"""

from server.metrics.intervals import Interval
from server.presentation.svg_charts import Figure, Line, line_figure
from server.report.stated_spend import sites
from server.runs.summary import Summary


def learning_curve(summary: Summary) -> Figure | None:
    """Test AUC after each round, with warm start and teacher as levels."""
    points = [(float(one.round), one.test_auc) for one in summary.rounds if one.test_auc is not None]
    auc = summary.test_auc
    starts = bool(points) and points[0][0] == 0.0
    if not starts and auc.warm_start is not None and auc.warm_start.value is not None:
        points = [(0.0, auc.warm_start), *points]
    if len(points) < 2:
        return None
    levels = [("teacher", auc.teacher), ("warm start", auc.warm_start)]
    return line_figure(
        "Test AUC after each round",
        _which_images(summary),
        [Line("student", tuple(points))],
        x_name="round",
        y_name="AUC on the public test set",
        references=[(name, one.value) for name, one in levels if one is not None and one.value is not None],
    )


def _which_images(summary: Summary) -> str:
    """Say on which patients the line is and on which the levels, where they differ."""
    followed = {one.test_auc.n for one in summary.rounds if one.test_auc is not None}
    whole = {one.n for one in (summary.test_auc.teacher, summary.test_auc.warm_start) if one is not None}
    band = "The line, with its 95 % band, is the student"
    if followed == whole:
        return f"{band}; dashed lines are teacher and warm start."
    patients, all_patients = (" or ".join(map(str, sorted(counts))) for counts in (followed, whole))
    return (
        f"{band} on the part of the test set that follows the rounds ({patients} patients); dashed lines are teacher "
        f"and warm start on all of it ({all_patients} patients), so a line and a level may differ by that alone."
    )


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
