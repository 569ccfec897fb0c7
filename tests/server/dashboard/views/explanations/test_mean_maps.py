import numpy as np
import pytest

from server.dashboard.maps.cells import Cells
from server.dashboard.views.explanations import map_words as words
from server.dashboard.views.explanations.map_numbers import HEAD, map_numbers
from server.dashboard.views.explanations.mean_maps import MeanMap, difference
from server.dashboard.views.explanations.site_maps import POOL, site_maps

RANDOM = np.random.default_rng(0)


def mean_map(values: np.ndarray, half: float | None = 0.1, **other: object) -> MeanMap:
    cells = Cells(values) if half is None else Cells(values, values - half, values + half)
    usual = {
        "subject": "student", "label": "opacity", "source": "all", "round": None, "site_release": False,
        "frame": "image", "num_images": 30, "num_patients": 30, "num_without_evidence": 0, "noise_std": None,
        "epsilon": None, "digest": "", "cells": cells,
    }  # fmt: skip
    return MeanMap(**(usual | other))  # type: ignore[arg-type]


def released(site: str, values: np.ndarray, count: int = 400, **other: object) -> MeanMap:
    return mean_map(
        values, None, source=site, site_release=True, num_patients=count, noise_std=0.1, epsilon=1.0, **other
    )


def test_a_difference_of_two_maps_has_an_interval_at_least_as_wide_as_it_should_be() -> None:
    """However two maps of the same patients vary together, 95 % intervals of their difference hold the truth."""
    covered = {}
    for together in (-0.9, 0.0, 0.9):
        hits = []
        for _ in range(400):
            noise = RANDOM.multivariate_normal([0, 0], [[1, together], [together, 1]], size=9).T * 0.1
            one, other = (mean_map((1 + part).reshape(3, 3), 1.96 * 0.1) for part in noise)
            cells = difference(one, other)
            assert cells is not None
            assert cells.low is not None
            assert cells.high is not None
            hits.append(((cells.low <= 0) & (cells.high >= 0)).mean())
        covered[together] = float(np.mean(hits))
    print(f"covered by correlation: {covered}")
    assert min(covered.values()) >= 0.94


@pytest.mark.parametrize("other", [mean_map(np.ones((2, 2))), mean_map(np.ones((3, 3)), cells=None)])
def test_maps_that_cannot_be_compared_have_no_difference(other: MeanMap) -> None:
    """Other cells, or no evidence: nothing is resampled to fit."""
    assert difference(mean_map(np.ones((3, 3))), other) is None


def test_a_difference_without_intervals_shows_no_finding() -> None:
    """Where one map has none, nothing can be told from noise."""
    cells = difference(mean_map(np.ones((3, 3)) * 3), mean_map(np.ones((3, 3)), None))
    assert cells is not None
    assert not cells.stands_out.any()
    assert words.places(cells) == words.WITHOUT_INTERVALS


def test_words_say_where_and_how_sure() -> None:
    """The places that are surely more or less than even, the number of such cells, and what is behind the map."""
    values = np.full((3, 3), 0.5)
    values[2, 0], values[1, 1] = 5.0, 1.05
    one = mean_map(values)
    assert words.seen(one) == (
        "more lower left (5.0 times even); less upper left and upper middle; 8 of 9 cells can be told from noise"
    )
    assert words.behind(one) == "30 images of 30 patients; public images, no noise added"
    assert words.seen(None) == "not measured"
    assert words.seen(mean_map(values, cells=None)) == words.NO_EVIDENCE
    assert words.places(Cells(-values, -values - 0.1, -values + 0.1, 0.0)).startswith("less lower left")
    assert words.places(Cells(values, values - 0.1, values + 0.1, 0.0)).startswith("more lower left (+5.0)")


def test_words_name_no_place_that_may_be_noise() -> None:
    """Where no cell can be told from noise, or there are no intervals, the highest value is not pointed at."""
    values = np.full((3, 3), 0.5)
    values[2, 0] = 5.0
    assert words.seen(mean_map(values, 9.0)) == "none of 9 cells can be told from noise"
    assert words.seen(mean_map(values, None)) == words.WITHOUT_INTERVALS
    assert words.strongest_places(Cells(values)).startswith("strongest lower left (5.0 times even)")


def test_all_sites_together_weigh_by_patients_and_leave_out_those_below_the_minimum() -> None:
    """By hand: 1 from 100 patients and 2 from 300 make 1.75."""
    one, two = np.ones((3, 3)), np.full((3, 3), 2.0)
    silent = released("small", two, 0, cells=None, too_few=True)
    found = {site.name: site for site in site_maps(
        [mean_map(one), released("a", one, 100), released("b", two, 300), silent]
    )}  # fmt: skip
    assert list(found) == [POOL, "a", "b", "small"]
    pool = found[POOL].own
    assert pool is not None
    np.testing.assert_allclose(pool.values, 1.75)
    assert found[POOL].num_patients == 400
    assert (found["small"].own, found["small"].note) == (None, words.TOO_FEW)
    against = found["a"].against
    assert against is not None
    np.testing.assert_allclose(against.values, -0.75)


def test_a_site_alone_has_no_pool() -> None:
    """One site is not held against itself."""
    found = site_maps([mean_map(np.ones((3, 3))), released("a", np.ones((3, 3)))])
    assert [(site.name, site.against) for site in found] == [("a", None)]


def test_without_reference_maps_of_these_cells_nothing_is_said_of_sites() -> None:
    """How much patients differ is not known, so no interval can be drawn: hatching nothing would claim too much."""
    for maps in (
        [released("a", np.ones((3, 3)))],
        [mean_map(np.ones((2, 2))), released("a", np.ones((3, 3)))],
    ):
        (site,) = site_maps(maps)
        assert site.own is None
        assert site.note == "spread of patients not known"


def test_the_file_of_numbers_has_every_cell_and_no_number_of_a_silent_site() -> None:
    """One line a cell, the pool and the differences among them."""
    one = np.ones((3, 3))
    silent = released("small", one, 0, cells=None, too_few=True)
    lines = list(map_numbers([mean_map(one), released("a", one), released("b", one), silent]))
    assert all(len(line) == len(HEAD) for line in lines)
    assert len(lines) == 9 + 9 + 2 * 18 + 1  # reference, pool, two sites with differences, and the silent one
    assert lines[-1] == ("small", "opacity", "small", *[None, True, *[None] * 10][:12], words.TOO_FEW)
