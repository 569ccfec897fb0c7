import itertools
import re

import numpy as np
import pytest
from scipy.stats import binom

from server.dashboard.figures.funnel import TOO_FEW, Share, funnel_figure, limits, verdict

FEWEST = 10


@pytest.mark.parametrize(("share", "n"), [(0.5, 20), (0.9, 57), (0.97, 400), (0.1, 12)])
@pytest.mark.parametrize("tail", [0.025, 0.001])
def test_limits_are_exact_binomial(share: float, n: int, tail: float) -> None:
    """At most `tail` of Binomial(n, share) lies outside on either side, and one step further in is more."""
    low, high = limits(share, n, tail)
    below = binom.cdf(np.ceil(low * n) - 1, n, share)
    above = binom.sf(np.floor(high * n), n, share)
    assert below <= tail < binom.cdf(np.ceil(low * n), n, share) or low == 0
    assert above <= tail or high == 1


def test_equal_sites_seldom_leave_the_limits() -> None:
    """Of 4,000 sites that are all alike, at most 5 in 100 are said to be outside the 95 % limits."""
    draws = np.random.default_rng(0).binomial(40, 0.8, size=4000) / 40
    outside = sum("limits" in verdict(Share("x", share, 40), 0.8) for share in draws)
    assert outside / 4000 <= 0.05


def test_a_site_far_below_is_named_with_its_limits() -> None:
    """60 of 100 where all have 80 is outside even the wide limits."""
    assert verdict(Share("a", 0.6, 100), 0.8) == "below the 99.8 % limits of chance"


def test_too_few_patients_give_no_number_anywhere() -> None:
    """Under the minimum neither drawing nor table holds the share or the count."""
    figure = funnel_figure("t", "share right", [Share("big", 0.8, 100), Share("tiny", 0.643, FEWEST - 3)])
    assert figure is not None
    told = str(figure.svg) + str(figure.rows)
    assert "0.643" not in told
    assert "tiny" not in figure.svg
    assert ("tiny", f"under {FEWEST}", TOO_FEW, "—", TOO_FEW) in figure.rows


def test_sites_are_in_the_order_of_their_names() -> None:
    """Never a ranked list."""
    figure = funnel_figure(
        "t", "share right", [Share("b", 0.9, 50), Share("a", 0.5, 50), Share("c", 0.7, 50)]
    )
    assert figure is not None
    assert [row[0] for row in figure.rows] == ["a", "b", "c"]


def test_no_name_is_written_over_another() -> None:
    """Four sites close together are all named, side by side; of fifty, names without room are left to the table."""
    close = [Share(name, share, n) for name, share, n in (
        ("bedside", 0.92, 335), ("children", 0.91, 368), ("film", 0.88, 357), ("processed", 0.93, 351)
    )]  # fmt: skip
    for sites in (close, [Share(f"hospital {k}", 0.9 + k % 7 / 200, 300 + k) for k in range(50)]):
        figure = funnel_figure("right", "share right", sites)
        assert figure is not None
        named = re.findall(r'class="name small( end)?" x="([\d.]+)" y="([\d.]+)">([^<]+)<', figure.svg)
        boxes = [
            (float(x) - (8 * len(name) if end else 0), float(y), 8 * len(name)) for end, x, y, name in named
        ]
        assert len(named) == 4 if sites is close else 0 < len(named) < 50
        for (x, y, wide), (other, base, span) in itertools.combinations(boxes, 2):
            assert x + wide < other or other + span < x or abs(y - base) >= 14
