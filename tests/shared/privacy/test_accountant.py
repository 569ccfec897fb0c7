"""The accountant states upper bounds that independent accountants and closed forms confirm."""

import itertools
import math
import time
from collections.abc import Sequence

import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from shared.errors import PrivacyError
from shared.privacy import accountant
from shared.privacy.accountant import calibrate, spend, spend_against, spend_pld, stated_spend
from shared.privacy.mechanisms import (
    Declared,
    Gaussian,
    Mechanism,
    PoissonGaussian,
    Unprotected,
    merged,
)

DELTA = 1e-5


def poisson(sigma: float, rate: float = 0.1, steps: int = 10) -> PoissonGaussian:
    """Return a training row."""
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=rate, steps=steps)


def exact_gaussian(sigma: float, delta: float) -> float:
    """Return epsilon of one Gaussian sum in closed form (arXiv 1805.06530, theorem 8)."""

    def excess(eps: float) -> float:
        tail = norm.logcdf(-1 / (2 * sigma) - eps * sigma)
        return float(norm.cdf(1 / (2 * sigma) - eps * sigma) - math.exp(eps + tail) - delta)

    return float(brentq(excess, 0, 200))


@pytest.mark.parametrize(("delta", "sigma"), [(1e-3, 0.632), (1e-5, 0.770)])
def test_known_calibrations(delta: float, sigma: float) -> None:
    """Sample rate 0.1, 40 steps and epsilon 8 need the published multipliers."""
    assert calibrate(8.0, delta, 0.1, 40) == pytest.approx(sigma, abs=0.0015)


@pytest.mark.parametrize(
    ("epsilon", "delta", "rate", "steps"),
    [(8.0, 1e-5, 0.1, 40), (1.0, 1e-5, 0.05, 500), (0.1, 1e-5, 0.1, 40), (30.0, 1e-6, 1.0, 3)],
)
def test_calibration_fills_the_budget(epsilon: float, delta: float, rate: float, steps: int) -> None:
    """The calibrated noise spends between 99.5 % and 100 % of the budget."""
    start = time.perf_counter()
    sigma = calibrate(epsilon, delta, rate, steps)
    assert time.perf_counter() - start < 30
    assert 0.995 * epsilon <= spend([poisson(sigma, rate, steps)], delta).epsilon <= epsilon


@pytest.mark.parametrize(
    "mechanisms",
    [
        [poisson(0.77, steps=40)],
        [poisson(1.5, 0.05, 400), *[Gaussian(noise_multiplier=3.73)] * 5],
        [poisson(2.0, steps=40), Gaussian(noise_multiplier=4.0), poisson(0.7, steps=30)],
        [poisson(1.07, 0.001, 10_000)],
    ],
)
def test_prv_and_pld_agree(mechanisms: Sequence[Mechanism]) -> None:
    """Two accountants by different authors agree up to the 0.01 that PRV adds, and PRV's bound is above."""
    figure, independent = spend(mechanisms, DELTA), spend_pld(mechanisms, DELTA)
    assert figure.accountant == "prv"
    assert independent + 0.005 < figure.epsilon < independent + 0.015


@pytest.mark.parametrize(("sigma", "count"), [(4.0, 1), (2.0, 3), (0.7, 1)])
def test_gaussians_match_the_closed_form(sigma: float, count: int) -> None:
    """Repeated Gaussian sums (k of them) spend what one with sigma / sqrt(k) does, whose epsilon is known exactly."""
    exact = exact_gaussian(sigma / math.sqrt(count), DELTA)
    rows = [Gaussian(noise_multiplier=sigma)] * count
    assert exact <= spend(rows, DELTA).epsilon < exact + 0.015
    assert exact <= spend_pld(rows, DELTA) == pytest.approx(exact, abs=1e-6)


def test_nothing_spends_nothing() -> None:
    """No mechanism, no epsilon."""
    assert stated_spend([], DELTA).model_dump() == {
        "epsilon": 0, "delta": DELTA, "accountant": "basic", "pld_epsilon": 0,
    }  # fmt: skip
    assert spend([], DELTA).epsilon == 0
    assert spend_pld([], DELTA) == 0


def test_order_and_splitting_do_not_matter() -> None:
    """Four rounds of ten steps in any order spend the same as one of forty."""
    other = Gaussian(noise_multiplier=5.0)
    whole = spend([poisson(1.0, steps=40), other], DELTA)
    parts = [poisson(1.0), poisson(1.0), other, poisson(1.0), poisson(1.0)]
    assert spend(parts, DELTA) == whole
    assert spend(parts[::-1], DELTA) == whole


def test_a_sum_over_everybody_is_one_of_rate_1() -> None:
    """Steps at a sample rate of 1 and sums over a whole partition, of the same noise, add up."""
    mixed = [poisson(2.0, 1.0, 3), *[Gaussian(noise_multiplier=2.0)] * 2]
    assert spend(mixed, DELTA) == spend([Gaussian(noise_multiplier=2.0)] * 5, DELTA)
    assert spend(mixed, DELTA) == spend([poisson(2.0, 1.0, 5)], DELTA)


def test_every_round_adds() -> None:
    """Epsilon grows with every round."""
    spent = [spend([poisson(1.0)] * rounds, DELTA).epsilon for rounds in range(1, 5)]
    assert all(later > earlier for earlier, later in itertools.pairwise(spent))


def test_declared_spends_add_and_use_up_delta() -> None:
    """Declared epsilons add; their deltas are taken out of the delta left for the rest."""
    declared = Declared(epsilon=1.5, delta=4e-6)
    both = spend([poisson(1.0), declared], DELTA)
    assert both.epsilon == pytest.approx(1.5 + spend([poisson(1.0)], 6e-6).epsilon)
    assert both.accountant == "prv + basic"
    assert spend_pld([poisson(1.0), declared], DELTA) == pytest.approx(1.5 + spend_pld([poisson(1.0)], 6e-6))
    assert spend([declared, declared], DELTA).epsilon == 3.0
    assert spend([declared] * 3, DELTA).epsilon == math.inf


@pytest.mark.parametrize(
    ("declared", "name"),
    [
        (Declared(epsilon=0.5, delta=0), "prv + basic"),
        (Declared(epsilon=0, delta=1e-6), "prv + basic"),
        (Declared(epsilon=0, delta=0), "prv"),
    ],
)
def test_a_declared_spend_is_named(declared: Declared, name: str) -> None:
    """Who reads a figure sees that something was added to it, be it epsilon or delta alone."""
    assert spend([poisson(1.0), declared], DELTA).accountant == name


def test_the_last_of_delta_may_be_declared_and_then_nothing_may_be_drawn() -> None:
    """Declared deltas may use up all of delta; noise beside them would need a delta of its own."""
    whole = Declared(epsilon=1.5, delta=DELTA)
    assert (spend([whole], DELTA).epsilon, spend_pld([whole], DELTA)) == (1.5, 1.5)
    for rows in ([whole, poisson(1.0)], [whole, Declared(epsilon=0, delta=1e-9)]):
        assert (spend(rows, DELTA).epsilon, spend_pld(rows, DELTA)) == (math.inf, math.inf)


def test_unprotected_release_ends_the_guarantee() -> None:
    """A release without noise makes epsilon infinite, whatever else was done."""
    assert spend([poisson(1.0), Unprotected()], DELTA).epsilon == math.inf
    assert spend_pld([Unprotected()], DELTA) == math.inf


def test_rdp_takes_over_where_prv_cannot_answer() -> None:
    """Where PRV's grid would burst, RDP's looser bound is stated and named."""
    figure = spend([poisson(0.15, 0.5, 200)], DELTA)
    assert figure.accountant == "rdp"
    assert spend_pld([poisson(0.5, 0.5, 30)], DELTA) <= spend([poisson(0.5, 0.5, 30)], DELTA).epsilon
    assert accountant._compose(((1.0, 0.1, 40),), 1e-25)[1] == "rdp"  # PRV raises: delta below rounding


@pytest.mark.parametrize(("steps", "name"), [(15, "prv"), (17, "rdp")])
def test_prv_is_asked_up_to_150(steps: int, name: str) -> None:
    """Past an epsilon of 150 by RDP nobody waits for PRV, whose grid grows with it."""
    rdp = accountant._rdp(((0.3, 1.0, steps),), DELTA)
    assert (rdp > 150) == (name == "rdp")
    assert accountant._compose(((0.3, 1.0, steps),), DELTA)[1] == name


@pytest.mark.parametrize("epsilon", [0.01, 0.0499, 100.5, 1000.0])
def test_uncalibratable_budget_is_refused(epsilon: float) -> None:
    """A budget that PRV cannot resolve is refused with field, value and what is allowed."""
    with pytest.raises(PrivacyError, match=r"privacy\.epsilon is .* allowed"):
        calibrate(epsilon, DELTA, 0.1, 40)


@pytest.mark.parametrize("delta", [0.0, 1.0, float("nan")])
def test_impossible_delta_is_refused(delta: float) -> None:
    """Delta lies strictly between 0 and 1."""
    with pytest.raises(PrivacyError, match="delta is"):
        spend([poisson(1.0)], delta)


def test_equal_rows_merge() -> None:
    """Equal rows are counted together, Poisson steps added, and nothing is lost."""
    rows = merged([poisson(1.0), Gaussian(noise_multiplier=2.0), poisson(1.0), poisson(1.0, rate=0.2)])
    assert {(row.mechanism, row.rows) for row in rows} == {
        (poisson(1.0, steps=20), 2),
        (poisson(1.0, rate=0.2), 1),
        (Gaussian(noise_multiplier=2.0), 1),
    }


# a delta so small that PLD's own truncation cannot resolve it, where PRV falls back to RDP's finite figure
HARD, TINY_DELTA = [poisson(1.0, steps=40)], 1e-15


def test_the_larger_figure_is_stated() -> None:
    """Whichever accountant finds more is stated and named, and PLD's own figure stands beside it."""
    usual = stated_spend([poisson(0.77, steps=40)], DELTA)
    assert (usual.epsilon, usual.accountant) == (spend([poisson(0.77, steps=40)], DELTA).epsilon, "prv")
    assert usual.pld_epsilon == spend_pld([poisson(0.77, steps=40)], DELTA) < usual.epsilon
    hard = stated_spend(HARD, TINY_DELTA)
    assert hard.accountant == "pld"
    assert hard.epsilon == hard.pld_epsilon > spend(HARD, TINY_DELTA).epsilon


def test_a_cap_is_held_against_the_larger_figure() -> None:
    """Between the two figures a cap is passed; where PRV alone is beyond it, PLD is not asked."""
    cap = 1.5 * spend(HARD, TINY_DELTA).epsilon
    assert spend_against(HARD, cap, TINY_DELTA).epsilon > cap
    absurd = [poisson(0.1, 1.0, 1_000_000)]  # PLD would take gigabytes
    assert spend_against(absurd, 10.0, DELTA) == spend(absurd, DELTA)


@pytest.mark.parametrize(("epsilon", "rate", "steps"), [(8.0, 0.1, 40), (1.0, 0.05, 500)])
def test_calibrated_noise_keeps_the_stated_figure(epsilon: float, rate: float, steps: int) -> None:
    """By both accountants calibrated noise stays within the budget, and uses 99 % of it."""
    stated = stated_spend([poisson(calibrate(epsilon, DELTA, rate, steps), rate, steps)], DELTA)
    assert 0.99 * epsilon <= stated.epsilon <= epsilon
    assert stated.pld_epsilon <= epsilon


@pytest.mark.parametrize(("epsilon", "most"), [(8.0, 5), (1.0, 5), (0.05, 20)])
def test_calibration_asks_the_accountant_a_few_times(
    epsilon: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question can take seconds: a usual budget takes three; the smallest, where RDP says nothing, 17."""
    asked: list[float] = []

    def counted(mechanisms: Sequence[Mechanism], delta: float) -> accountant.Spend:
        asked.append(delta)
        return spend(mechanisms, delta)

    monkeypatch.setattr(accountant, "spend", counted)
    calibrate.cache_clear()
    sigma = calibrate(epsilon, DELTA, 0.1, 40)
    assert 3 <= len(asked) <= most
    assert float(f"{sigma:.5g}") == sigma, "five digits, so that a person can type it"


def test_calibration_adds_noise_where_pld_finds_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were PLD 0.4 % above PRV, as a coarser grid makes it, the multiplier would rise until both fit."""
    monkeypatch.setattr(accountant, "PLD_INTERVAL", 0.02)
    accountant._pld.cache_clear()
    calibrate.cache_clear()
    sigma = calibrate(2.0, DELTA, 0.1, 400)
    assert stated_spend([poisson(sigma, steps=400)], DELTA).epsilon <= 2.0
    accountant._pld.cache_clear()
    calibrate.cache_clear()
