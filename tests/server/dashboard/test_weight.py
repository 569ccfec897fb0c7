"""What a page costs: statements of the store that it takes, and points that its figures draw."""

import re

import pytest
import sqlalchemy as sa

from server.dashboard.figures.spend import Spend, spend_figure
from server.dashboard.figures.timeline import Stretch, rounds_a_mark, timeline_figure
from server.metrics.intervals import Interval
from server.presentation.svg_charts import LEFT, RIGHT, WIDTH, Figure, Line, line_figure
from tests.dashboard_site import RUNNING, SMALL, Ask

MOST_COLUMNS = 120

PARTS = ("", "/explanations", "/privacy", "/sites", "/model", "/events")
OF_STUDIES = [f"/studies/{uid}{part}" for uid in (SMALL, RUNNING) for part in PARTS]
ALONE = [
    "/studies",
    "/studies?search=small",
    "/events",
    "/events?search=round&kind=round",
    "/account",
    "/people",
]
PLOT = WIDTH - LEFT - RIGHT  # pixels that rounds have
ROUNDS, SITES = 1000, 50


@pytest.mark.parametrize("path", [*ALONE, *OF_STUDIES])
@pytest.mark.parametrize("role", ["viewer", "auditor", "coordinator"])
def test_a_page_takes_at_most_ten_statements(ask: Ask, engine: sa.Engine, path: str, role: str) -> None:
    """With the session, the head and what else stands on it, and nothing in memory: every reader's first look."""
    client, seen = ask(role), []
    sa.event.listen(engine, "before_cursor_execute", lambda *told: seen.append(str(told[2])))
    answer = client.get(path)
    assert answer.status_code == (403 if (path, role == "coordinator") == ("/people", False) else 200)
    statements = [one for one in seen if not one.startswith(("PRAGMA", "BEGIN"))]  # settings, not questions
    print(f"{path} {role}: {len(statements)} statements")
    assert 1 <= len(statements) <= 10


def points(figure: Figure) -> list[int]:
    """Return the number of points of each line and band."""
    lines = re.findall(r'<path class="line [^"]*" d="([^"]*)"', figure.svg)
    bands = re.findall(r'<polygon class="band [^"]*" points="([^"]*)"', figure.svg)
    return [len(re.findall(r"[ML]", one)) for one in lines] + [len(one.split()) // 2 for one in bands]


def test_a_line_has_at_most_two_points_a_pixel() -> None:
    """A learning curve with its band, over 1,000 rounds."""
    curve = tuple((float(k), Interval(value=k / 1e3, low=0.0, high=1.0, n=9)) for k in range(1, ROUNDS + 1))
    figure = line_figure("AUC", "Over rounds.", [Line("student", curve)], x_name="round", y_name="AUC")
    assert len(points(figure)) == 2
    assert max(points(figure)) <= 2 * PLOT
    assert max(points(figure)) < ROUNDS


def test_spend_of_fifty_sites_has_at_most_two_points_a_pixel() -> None:
    """Six lines are drawn, however many sites there are."""
    spends = [
        Spend(f"site-{one}", tuple((k, one + k / 1e3) for k in range(1, ROUNDS + 1))) for one in range(SITES)
    ]
    figure = spend_figure(spends, 8.0)
    assert figure is not None
    assert len(points(figure)) == 6
    assert max(points(figure)) <= 2 * PLOT


def test_the_timeline_of_fifty_sites_has_at_most_two_marks_a_pixel() -> None:
    """Rounds are put together until each mark can be seen, and each site's strip has a share of 2,400 marks."""
    width = rounds_a_mark(ROUNDS, SITES)
    marks = [
        Stretch(f"site-{one:02}", first, min(first + width - 1, ROUNDS), width, 0)
        for one in range(SITES)
        for first in range(1, ROUNDS + 1, width)
    ]
    figure = timeline_figure(marks, ROUNDS)
    assert figure is not None
    drawn = re.search(r'class="took-part" d="([^"]*)"', figure.svg)
    assert drawn is not None
    assert SITES < drawn[1].count("M") <= SITES * MOST_COLUMNS


@pytest.mark.parametrize(
    ("rounds", "sites", "together"),
    [(120, 1, 1), (121, 1, 2), (1200, 1, 10), (1200, 50, 25), (1200, 400, 50)],
)
def test_as_many_rounds_share_a_mark_as_the_screen_needs(rounds: int, sites: int, together: int) -> None:
    """A strip has at most 120 marks, all of them 2,400 together, and each strip at least 24."""
    assert rounds_a_mark(rounds, sites) == together
