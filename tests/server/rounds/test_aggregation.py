"""The merged update is a weighted mean that does not know who answered first."""

from itertools import permutations

import numpy as np
import pytest

from server.rounds.aggregation import RunningMean, applied, merged_step, update_norm
from shared.errors import WeightsError
from shared.models.arrays import Arrays

SITES = ("a", "b", "c", "d")
DECLARED = {"a": 100.0, "b": 300.0, "c": 77.0, "d": 5.0}


def updates() -> dict[str, Arrays]:
    """Return updates of very different sizes, whose float sums depend on their order."""
    generator = np.random.default_rng(0)
    return {
        site: {
            "w": (generator.normal(size=(5, 3)) * 10.0**power).astype(np.float32),
            "b": generator.normal(size=3).astype(np.float32),
        }
        for site, power in zip(SITES, (5, -6, 0, 3), strict=True)
    }


def mean_of(order: tuple[str, ...]) -> Arrays:
    """Return the mean of the sites' updates as they arrive in this order."""
    mean = RunningMean(DECLARED)
    given = updates()
    for site in order:
        mean.add(site, given[site])
    return mean.mean()


def test_the_mean_by_numpy() -> None:
    """The mean is numpy's weighted average in float64, as float32."""
    given = updates()
    found = mean_of(SITES)
    for name in ("w", "b"):
        stacked = np.stack([given[site][name].astype(np.float64) for site in SITES])
        expected = np.average(stacked, axis=0, weights=[DECLARED[site] for site in SITES])
        np.testing.assert_allclose(found[name], expected, rtol=1e-6)
        assert found[name].dtype == np.float32


@pytest.mark.parametrize("missing", [None, "a", "b", "d"])
def test_the_order_of_arrival_changes_no_bit(missing: str | None) -> None:
    """Every order of arrival, with all sites or with one missing, gives the same bits; a plain sum does not."""
    present = tuple(site for site in SITES if site != missing)
    draw = np.random.default_rng(0)
    # a and c cancel but for a thousandth, so that what b and d add is lost in some orders of a plain sum
    values = {site: draw.normal(size=500) for site in SITES}
    values["a"] *= 1e5
    values["c"] = -values["a"] + 1e-3 * values["c"]
    given = {site: {"w": array.astype(np.float32)} for site, array in values.items()}
    results, plain = set(), set()
    for order in permutations(present):
        mean, total = RunningMean(dict.fromkeys(SITES, 1.0)), np.zeros(500, np.float32)
        for site in order:
            mean.add(site, given[site])
            total += given[site]["w"]
        results.add(mean.mean()["w"].tobytes())
        plain.add(total.tobytes())
    assert len(results) == 1
    assert len(plain) > 1


def test_the_largest_updates_do_not_overflow() -> None:
    """Any number of sites that all send the largest value allowed, or its negative, has just that mean."""
    sites = [f"site{number}" for number in range(50)]
    for value in (1e6, -1e6):
        mean = RunningMean(dict.fromkeys(sites, 1e9))
        for site in sites:
            mean.add(site, {"w": np.full(3, value, np.float32)})
        assert mean.mean()["w"].tolist() == [value] * 3


def test_a_missing_site_has_no_weight() -> None:
    """The mean of the sites that answered is divided by their weights alone."""
    given = updates()
    found = mean_of(("b", "d"))["b"]
    expected = (300 * given["b"]["b"].astype(np.float64) + 5 * given["d"]["b"]) / 305
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_one_site_is_its_own_mean() -> None:
    """The mean of one update is that update, as exactly as the sum is kept."""
    np.testing.assert_allclose(mean_of(("c",))["w"], updates()["c"]["w"], rtol=2**-24, atol=2**-40)


def test_no_update_is_an_error() -> None:
    """Without any update there is no mean."""
    with pytest.raises(WeightsError, match="none was accepted"):
        RunningMean(DECLARED).mean()


def test_the_norm_is_of_all_arrays_together() -> None:
    """The norm of (3, 4) in one array and 12 in another is 13; it does not overflow in float32."""
    update = {"w": np.array([[3, 4]], np.float32), "b": np.array([12], np.float32)}
    assert update_norm(update) == 13.0
    assert update_norm({"w": np.full(4, 1e30, np.float32)}) == pytest.approx(2e30)
    assert np.isnan(update_norm({"w": np.array([np.nan], np.float32)}))


def test_applied_moves_every_weight() -> None:
    """The new weights are the old plus the update, and the old stay as they were."""
    weights = {"w": np.array([1, 2], np.float32)}
    assert applied(weights, {"w": np.array([0.5, -1], np.float32)})["w"].tolist() == [1.5, 1.0]
    assert weights["w"].tolist() == [1, 2]


def test_a_step_keeps_a_share_of_the_last_one() -> None:
    """Three equal updates at momentum 0.5 give steps of 1, 1.5 and 1.75 times the update; 0 keeps nothing."""
    update = {"w": np.array([2, -4], np.float32)}
    step: dict[str, np.ndarray] = {}
    for factor in (1, 1.5, 1.75):
        step = merged_step(step, update, 0.5)
        assert step["w"].tolist() == [2 * factor, -4 * factor]
        assert step["w"].dtype == np.float32
    assert merged_step(step, update, 0.0)["w"].tolist() == [2, -4]
