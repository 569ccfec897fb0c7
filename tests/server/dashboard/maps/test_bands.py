"""Simulated studies: three hospitals release 7x7 sums under one clip with discrete Gaussian noise."""

import math
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import t

from server.dashboard.maps import bands
from server.dashboard.maps.cells import Cells, of_grid
from server.store.record_kinds import Grid

CELLS, SIDE = 49, 7
# noise over clip by epsilon, exact Gaussian at delta 1e-5: mostly privacy noise, and about as much of each
SIGMA = {1: 3.73, 8: 0.65}
CLIP = 0.3  # of the L2 norm of one patient's shares
LATTICE = 1e-3  # step of the integers that the door adds noise to
NUM_STUDIES = 1000
PATIENTS = (180, 350, 500)


@dataclass(frozen=True)
class Study:
    """What is true, and what the dashboard makes of what was released."""

    truths: list[np.ndarray]
    sites: list[bands.Estimate]


def maps_of_patients(rng: np.random.Generator, truth: np.ndarray, count: int) -> np.ndarray:
    """Draw maps of single patients (count, 49) whose mean over patients is the truth, each of mean 1."""
    energy = rng.gamma(2 * truth, size=(count, CELLS))
    return energy / energy.mean(1, keepdims=True)


def reference(maps: np.ndarray) -> Cells:
    """Mean map of reference patients with its intervals, corrected for the number of cells."""
    mean, std = maps.mean(0), maps.std(0, ddof=1) / math.sqrt(len(maps))
    half = t.ppf(1 - 0.025 / CELLS, len(maps) - 1) * std
    edges = {"low": tuple(mean - half), "high": tuple(mean + half)}
    return of_grid(Grid(rows=SIDE, columns=SIDE, values=tuple(mean), **edges))


def discrete_gaussian(rng: np.random.Generator, std: float, count: int) -> np.ndarray:
    """Integers with chances proportional to exp(-k^2 / (2 std^2))."""
    support = np.arange(-math.ceil(8 * std), math.ceil(8 * std) + 1)
    chances = np.exp(-(support**2) / (2 * std**2))
    return rng.choice(support, size=count, p=chances / chances.sum())


def released(
    rng: np.random.Generator, truth: np.ndarray, count: int, epsilon: int = 1
) -> tuple[np.ndarray, float]:
    """Return what leaves a site: the noised mean, times uniform, and the standard deviation of its noise."""
    total = np.rint(maps_of_patients(rng, truth, count).sum(0) / CELLS / LATTICE)
    noised = total + discrete_gaussian(rng, SIGMA[epsilon] * CLIP / LATTICE, CELLS)
    return noised * LATTICE * CELLS / count, SIGMA[epsilon] * CLIP * CELLS / count


def simulate(seed: int, *, flat: bool, epsilon: int = 1) -> Study:
    """One study; its reference patients are others than its sites' patients."""
    rng = np.random.default_rng(seed)
    common = np.ones(CELLS) if flat else rng.lognormal(0, 0.4, CELLS)
    spread = bands.spread_of(reference(maps_of_patients(rng, common / common.mean(), 48)), 48)
    assert spread is not None
    truths, sites = [], []
    for count in PATIENTS:
        own = common if flat else common * rng.lognormal(0, 0.5, CELLS)
        values, noise = released(rng, own / own.mean(), count, epsilon)
        assert bands.enough(count, noise)
        truths.append((own / own.mean()).reshape(SIDE, SIDE))
        sites.append(bands.single(values.reshape(SIDE, SIDE), count, noise, spread))
    return Study(truths, sites)


def estimates(study: Study) -> dict[str, tuple[bands.Estimate, np.ndarray]]:
    """Each of the three kinds of interval with the truth it is about."""
    weights = [count / sum(PATIENTS) for count in PATIENTS]
    pool = sum(weight * truth for weight, truth in zip(weights, study.truths, strict=True))
    return {
        "single": (study.sites[0], study.truths[0]),
        "pooled": (bands.pooled(study.sites, PATIENTS), pool),
        "difference": (bands.site_minus_pool(study.sites, PATIENTS, 0), study.truths[0] - pool),
    }


@pytest.mark.parametrize("epsilon", SIGMA)
def test_drawn_intervals_hold_the_truth(epsilon: int) -> None:
    """Of 1,000 studies with sampling and privacy noise, 95 % intervals of each kind hold the truth in 93 to 97 %."""
    alone, together = defaultdict(list), defaultdict(list)
    for seed in range(NUM_STUDIES):
        for kind, (estimate, truth) in estimates(simulate(seed, flat=False, epsilon=epsilon)).items():
            off = abs(estimate.values - truth)
            alone[kind].append((off <= estimate.half_width()).mean())
            together[kind].append((off <= estimate.half_width(CELLS)).all())
    for kind, hits in alone.items():
        said = f"one cell {np.mean(hits):.4f}, all 49 cells together {np.mean(together[kind]):.3f}"
        print(f"epsilon {epsilon}, {kind}: {said}")
        assert 0.93 <= np.mean(hits) <= 0.97
        assert 0.93 <= np.mean(together[kind]) <= 0.98


def test_noise_shows_no_signal() -> None:
    """Of 1,000 releases of a flat map, in at most 5 % is any cell shown: as uneven, or as unlike the other sites'."""
    shown = defaultdict(list)
    for seed in range(NUM_STUDIES):
        study = simulate(seed, flat=True)
        shown["site"].append(study.sites[0].cells().stands_out.any())
        shown["pool"].append(bands.pooled(study.sites, PATIENTS).cells().stands_out.any())
        shown["site minus pool"].append(
            bands.site_minus_pool(study.sites, PATIENTS, 0).cells(expected=0.0).stands_out.any()
        )
    for kind, hits in shown.items():
        print(f"{kind}: any cell shown in {np.mean(hits):.3f} of flat maps")
        assert np.mean(hits) <= 0.05


def test_a_real_difference_is_shown() -> None:
    """The intervals are not so wide that nothing could ever be seen: a site three times as bright in one cell is."""
    rng = np.random.default_rng(0)
    truth = np.ones(CELLS)
    truth[24] = 3.0
    spread = bands.Spread(np.ones((SIDE, SIDE)), np.full((SIDE, SIDE), 0.7), 48)
    found = 0
    for _ in range(100):
        values, noise = released(rng, truth / truth.mean(), 350)
        found += bands.single(values.reshape(SIDE, SIDE), 350, noise, spread).cells().stands_out[3, 3]
    assert found > 95


@pytest.mark.parametrize(("count", "noise", "told"), [(19, 0.0, False), (20, None, True), (500, 0.34, False)])
def test_too_few_patients_or_too_much_noise_say_nothing(count: int, noise: float | None, told: bool) -> None:
    """Both sides of the minimum, and a map whose noise is more than a third of an even cell."""
    assert bands.enough(count, noise) is told


def test_a_brighter_cell_varies_more() -> None:
    """By hand: twice as bright as on the reference images, twice the variance; darker, the same."""
    spread = bands.Spread(np.ones((1, 2)), np.ones((1, 2)), 48)
    found = bands.single(np.array([[2.0, 0.5]]), 100, None, spread)
    np.testing.assert_allclose(found.sampling, [[0.02, 0.01]])


def test_the_spread_of_patients_is_read_from_intervals() -> None:
    """What went into the reference map's intervals comes out; without intervals nothing is known."""
    maps = maps_of_patients(np.random.default_rng(1), np.ones(CELLS), 30)
    spread = bands.spread_of(reference(maps), 30)
    assert spread is not None
    np.testing.assert_allclose(spread.std.ravel(), maps.std(0, ddof=1), rtol=3e-3)
    assert bands.spread_of(Cells(np.ones((1, 1))), 30) is None
    assert bands.spread_of(reference(maps), 1) is None


def test_a_spread_on_record_is_taken_as_it_is() -> None:
    """However wide the intervals are."""
    ones = np.ones((2, 2))
    spread = bands.spread_of(Cells(ones, ones - 1, ones + 90, std=ones * 0.7), 12)
    assert spread is not None
    np.testing.assert_array_equal(spread.std, ones * 0.7)


def test_the_spread_on_coarser_cells_is_not_understated() -> None:
    """Four cells that vary together keep their spread; cells that do not fit have none."""
    maps = maps_of_patients(np.random.default_rng(2), np.ones(CELLS), 200).reshape(-1, SIDE, SIDE)
    fine = bands.Spread(np.ones((6, 6)), maps[:, :6, :6].std(0, ddof=1), 200)
    coarse = bands.on_cells(fine, (3, 3))
    assert coarse is not None
    own = maps[:, :6, :6].reshape(-1, 3, 2, 3, 2).mean(axis=(2, 4)).std(0, ddof=1)
    assert (coarse.std >= own).all()
    assert bands.on_cells(bands.Spread(np.ones((14, 14)), np.ones((14, 14)), 9), (7, 7)) is not None
    assert bands.on_cells(fine, (4, 4)) is None


def test_a_site_is_part_of_the_pool_that_it_is_held_against() -> None:
    """By hand, for two sites of equal weight: the difference is half of theirs, and so is its standard deviation."""
    one = np.ones((1, 1))
    first, second = (bands.Estimate(one * k, one * 0.0, one * 4.0, 10) for k in (3, 1))
    gap = bands.site_minus_pool([first, second], (5, 5), 0)
    assert gap.values == pytest.approx(1)
    assert gap.std == pytest.approx(math.sqrt(2))
    assert gap.privacy_share == 1
    assert bands.pooled([first, second], (3, 1)).values == pytest.approx(2.5)


@pytest.mark.parametrize("num_patients", [2, 9, 48])
def test_intervals_are_those_of_student(num_patients: int) -> None:
    """Of one cell and of all together (Bonferroni), with as many degrees of freedom as patients less one."""
    reference = Cells(np.full((5, 5), 1.0), std=np.full((5, 5), 0.3))
    spread = bands.spread_of(reference, num_patients)
    assert spread is not None
    found = bands.single(np.full((5, 5), 1.0), 16, None, spread)
    for cells, chance in ((1, 0.975), (25, 1 - 0.02 / 25)):
        assert found.half_width(cells) == pytest.approx(t.ppf(chance, num_patients - 1) * 0.3 / 4, rel=1e-9)
