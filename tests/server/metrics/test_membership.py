"""Membership inference: every number by hand or by an independent library, and attacks that find what is there."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from server.metrics.membership import (
    NOT_FINITE,
    Signals,
    attacked,
    chance_of_so_many,
    epsilon_seen,
    exact_rate,
    lowest_level,
    scores,
    true_positive_rate,
)
from server.metrics.membership_result import Attack

OFFLINE = 0.3

DELTA = 1e-5
NUM_REFERENCES = 4


def signals(
    random: np.random.Generator, num: int, leak: float, num_references: int = NUM_REFERENCES
) -> Signals:
    """Draw patients of very different difficulty, on whom the student is surer by `leak` than the references."""
    difficulty = random.normal(0, 3, num)
    return Signals(
        difficulty + leak + random.normal(0, 0.5, num),
        difficulty + random.normal(0, 0.5, (num_references, num)),
    )


def by_name(attacks: tuple[Attack, ...]) -> dict[str, Attack]:
    return {one.attack: one for one in attacks}


@pytest.mark.parametrize(("hits", "n"), [(0, 50), (1, 100), (7, 600), (599, 600), (50, 50)])
def test_a_share_has_its_exact_interval(hits: int, n: int) -> None:
    """Clopper and Pearson, as scipy's exact binomial test inverts it; at the ends the closed form."""
    rate, oracle = exact_rate(hits, n), binomtest(hits, n).proportion_ci(0.95, "exact")
    assert (rate.low, rate.high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)
    if hits == 0:
        assert rate.high == pytest.approx(1 - 0.025 ** (1 / n))
    if hits == n:
        assert rate.low == pytest.approx(0.025 ** (1 / n))


@pytest.mark.parametrize(
    ("num", "level"),
    [(100, 0.01), (99, 0.02), (50, 0.02), (49, 0.05), (20, 0.05), (19, 0.1), (10, 0.1), (5, 0.2), (4, None)],
)  # fmt: skip
def test_a_non_member_must_lie_above_the_threshold(num: int, level: float | None) -> None:
    """1 % takes 100 non-members; with fewer the level rises, and below five there is none."""
    assert lowest_level(num) == level


def test_a_share_at_one_percent_is_counted_by_hand() -> None:
    """Non-members 1 to 1200: twelve lie above 1188, and of members 1189 to 1288 all hundred; of 1139 to 1238, fifty."""
    non_members = np.arange(1.0, 1201.0)
    assert true_positive_rate(non_members[:100] + 1188, non_members, 0.01).hits == 100
    assert true_positive_rate(non_members[:100] + 1138, non_members, 0.01).hits == 50
    assert true_positive_rate(np.ones(100), np.ones(1200), 0.01).hits == 0  # equal scores name nobody


def test_the_interval_pays_for_the_threshold() -> None:
    """The thresholds surely too high and too low are those of the exact binomial, found by trying each.

    Of 1,200 non-members the k-th largest has at most 1 % truly above it with 98.75 % for every k up to `sure`, and at
    least 1 % for every k from `enough`.
    """
    non_members, tail = np.arange(1.0, 1201.0), 0.0125
    sure = max(k for k in range(1, 1201) if binom.cdf(k - 1, 1200, 0.01) <= tail)
    enough = min(k for k in range(1, 1201) if binom.sf(k - 1, 1200, 0.01) <= tail)
    members = np.arange(901.0, 1201.0) + 0.5  # one just above each of the 300 largest
    found = true_positive_rate(members, non_members, 0.01)
    assert sure < 12 < enough
    low = binomtest(sure, 300).proportion_ci(1 - 2 * tail, "exact").low
    high = binomtest(enough, 300).proportion_ci(1 - 2 * tail, "exact").high
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert found.low < exact_rate(found.hits, 300).low
    assert found.high > exact_rate(found.hits, 300).high


def test_scores_follow_their_formulas() -> None:
    """Two patients, two references, by hand."""
    found = scores(Signals(np.array([0.0, 2.0]), np.array([[-1.0, 2.0], [1.0, 4.0]])))
    np.testing.assert_array_equal(found["loss"], [0.0, 2.0])
    np.testing.assert_allclose(found["lira"], [0.0, -1 / math.sqrt(2)])  # means 0 and 3, both variances 2
    p = [1 / (1 + math.exp(-x)) for x in (0.0, 2.0, 4.0)]
    unseen = [0.5, (p[1] + p[2]) / 2]  # 1 / (1 + e) + 1 / (1 + 1 / e) = 1
    expected = [
        top / (((1 + OFFLINE) * out + 1 - OFFLINE) / 2) for top, out in zip(p[:2], unseen, strict=True)
    ]
    np.testing.assert_allclose(found["rmia"], expected)


def test_one_reference_allows_the_loss_alone() -> None:
    """A spread between references takes two of them."""
    assert set(scores(Signals(np.zeros(3), np.zeros((1, 3))))) == {"loss"}
    with pytest.raises(ValueError, match=r"allowed are \(N,\) and \(R, N\)"):
        Signals(np.zeros(3), np.zeros((2, 4)))


def test_a_student_that_never_saw_the_members_gives_chance() -> None:
    """Both intervals hold chance, no epsilon is shown, and the numbers are those of the patients put in."""
    random = np.random.default_rng(11)
    found = attacked(signals(random, 600, 0.0), signals(random, 600, 0.0), delta=DELTA)
    assert {one.attack for one in found} == {"loss", "lira", "rmia"}
    for one in found:
        assert (one.num_members, one.num_non_members, one.level, one.reason) == (600, 600, 0.01, "")
        assert one.auc.low is not None
        assert one.auc.high is not None
        assert one.true_positive is not None
        assert one.epsilon_seen is not None
        assert one.auc.low < 0.5 < one.auc.high
        assert one.true_positive.low < 0.01 < one.true_positive.high
        assert one.epsilon_seen.at_least == 0


@pytest.mark.parametrize("truth", [0.01, 0.3])
def test_intervals_hold_the_true_rate_as_often_as_they_say(truth: float) -> None:
    """Of 300 attacks at least 285 intervals hold the rate at exactly 1 %: exact ones hold it more often than asked.

    Members are shifted so that the true rate is `truth`. Taking the threshold as known, 81 of 100 held it.
    """
    random = np.random.default_rng(5)
    shift = norm.isf(0.01) - norm.isf(truth)
    held = 0
    for _ in range(300):
        rate = true_positive_rate(random.normal(size=600) + shift, random.normal(size=600), 0.01)
        held += rate.low <= truth <= rate.high
    assert held >= 285


def test_a_planted_leak_is_found_and_needs_references_where_patients_differ() -> None:
    """Members on whom the student is surer by five deviations: references find over half, the loss alone few."""
    random = np.random.default_rng(12)
    found = by_name(attacked(signals(random, 600, 2.5), signals(random, 600, 0.0), delta=DELTA))
    lira, loss = found["lira"], found["loss"]
    assert lira.true_positive is not None
    assert loss.true_positive is not None
    assert lira.epsilon_seen is not None
    assert lira.true_positive.low > 0.5
    assert lira.auc.value is not None
    assert lira.auc.value > 0.95
    assert loss.true_positive.high < 0.2
    assert 2 < lira.epsilon_seen.at_least <= lira.epsilon_seen.ceiling


def test_few_non_members_give_a_higher_level_that_says_so() -> None:
    """With 60 non-members the rate stands at 2 %, with the reason; it is not called that at 1 %."""
    random = np.random.default_rng(13)
    one = attacked(signals(random, 300, 2.5), signals(random, 60, 0.0), delta=DELTA)[0]
    assert (one.level, one.is_at_level) == (0.02, False)
    assert one.reason == "too few non-members for 1 %: 60, at least 100 are needed"


@pytest.mark.parametrize(("ins", "outs", "named"), [(9, 300, "members: 9"), (300, 9, "non-members: 9")])
def test_too_few_patients_give_no_number(ins: int, outs: int, named: str) -> None:
    """Below ten of either nothing is measured, and the reason names them."""
    random = np.random.default_rng(14)
    for one in attacked(signals(random, ins, 2.5), signals(random, outs, 0.0), delta=DELTA):
        assert (one.true_positive, one.epsilon_seen, one.auc.value) == (None,) * 3
        assert one.reason == f"too few {named}, at least 10 are needed"


def test_a_student_that_is_not_finite_gives_no_number() -> None:
    """A diverged student is no evidence of privacy."""
    random = np.random.default_rng(15)
    broken = signals(random, 300, 0.0)
    broken.student[0] = np.nan
    for one in attacked(broken, signals(random, 300, 0.0), delta=DELTA):
        assert (one.true_positive, one.auc.value, one.reason) == (None, None, NOT_FINITE)


def test_epsilon_of_guesses_that_are_all_right_has_a_closed_form() -> None:
    """With delta 0, r right guesses of r refute every epsilon with (e^eps / (1 + e^eps))^r < 0.05."""
    apart = epsilon_seen(np.ones(1000), np.zeros(1000), delta=0, seed=0)
    assert (apart.candidates, apart.guesses, apart.right) == (1000, 200, 200)
    chance = 0.05 ** (1 / 200)
    assert apart.at_least == pytest.approx(math.log(chance / (1 - chance)), abs=1e-4)
    assert apart.ceiling == apart.at_least


@pytest.mark.parametrize(("right", "epsilon"), [(100, 0.0), (150, 1.0), (190, 2.0), (0, 1.0)])
def test_the_audits_p_value_is_that_of_its_authors(right: int, epsilon: float) -> None:
    """The paper's own loop (arXiv 2305.08846, appendix D), written out."""
    candidates, guesses, delta = 1000, 200, 1e-3
    chance = 1 / (1 + math.exp(-epsilon))
    alpha = total = 0.0
    for i in range(1, right + 1):
        total += binom.pmf(right - i, guesses, chance)
        alpha = max(alpha, total / i)
    expected = min(1.0, binom.sf(right - 1, guesses, chance) + alpha * delta * 2 * candidates)
    assert chance_of_so_many(candidates, guesses, right, epsilon, delta) == pytest.approx(expected)


def test_epsilon_shown_stays_below_that_of_a_mechanism_that_has_one() -> None:
    """Randomised response tells the truth with e / (1 + e): epsilon is 1, and of 200 audits at most 21 say more.

    21 is what 5 % wrong audits stay below in 999 of 1,000 cases; a tenth of epsilon or more is seen by most.
    """
    random, truth = np.random.default_rng(16), math.e / (1 + math.e)
    shown = []
    for seed in range(200):
        ins, outs = (np.where(random.random(1000) < share, 1.0, 0.0) for share in (truth, 1 - truth))
        jitter = random.normal(0, 1e-3, (2, 1000))
        shown.append(epsilon_seen(ins + jitter[0], outs + jitter[1], delta=0, seed=seed).at_least)
    assert sum(one > 1 for one in shown) <= 21
    assert np.median(shown) > 0.5
