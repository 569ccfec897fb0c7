"""Whether a student tells who trained it: membership inference by threshold, with intervals that may be believed.

In: for each patient one signal of the attacked student, and of reference students that never saw the patient: the mean
log-odds of the true class, larger where a model is surer. Out: frozen figures. A patient is one unit, however many
images it has. The interval of a rate pays for the patients that were counted and for those that set the threshold: with
the threshold taken as known, only four of five such intervals hold the truth.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import beta, binom

from server.metrics.intervals import Array, Interval, patient_resamples, percentile_interval, weighted_auc
from server.metrics.membership_result import LEVEL, Attack, AttackName, EpsilonSeen, Rate

LEVELS = (LEVEL, 0.02, 0.05, 0.1, 0.2)  # the lowest that the number of non-members allows is used
FEWEST = 10  # members, and non-members, below which nothing is said
FEWEST_REFERENCES = 2
OFFLINE = (
    0.3  # how surer the references would be had they seen the patient (`a` of arXiv 2312.03262, section 3)
)
GUESSED = 0.1  # share of candidates called members, and as many called none, for epsilon
NOT_FINITE = "a signal of the student or of a reference is not finite"
_TAIL = 0.025
_CONFIDENCE = 0.95
_MOST_EPSILON = 50.0


@dataclass(frozen=True)
class Signals:
    """True-class log-odds of N patients: of the attacked student (N,) and of R reference students (R, N)."""

    student: Array
    references: Array

    def __post_init__(self) -> None:
        if self.student.ndim != 1 or self.references.shape[1:] != self.student.shape:
            raise ValueError(
                f"signals are {self.student.shape} and {self.references.shape}; allowed are (N,) and (R, N)"
            )

    @property
    def are_finite(self) -> bool:
        """Whether every signal is a number."""
        return bool(np.isfinite(self.student).all() and np.isfinite(self.references).all())


def scores(signals: Signals) -> Mapping[AttackName, Array]:
    """Return each attack's scores (N,), larger for whom it takes for a member.

    `loss`: the student's own signal (Yeom et al., arXiv 1709.01604). `lira`: how far it is above the references', in
    standard deviations shared by all patients (the offline attack of Carlini et al., arXiv 2112.03570, with its shared
    variance for few references). `rmia`: p(x) / p_ref(x), where p_ref is the references' mean probability p_out
    corrected for not having seen x, ((1 + a) p_out + 1 - a) / 2 (offline attack of Zarifzadeh et al., arXiv
    2312.03262). Its comparison with a population rises with that ratio, so at a fixed rate of false positives the ratio
    decides alike, without ties. The last two need `FEWEST_REFERENCES`.
    """
    found: dict[AttackName, Array] = {"loss": signals.student}
    if len(signals.references) >= FEWEST_REFERENCES:
        mean = signals.references.mean(0)
        spread = math.sqrt(float(signals.references.var(0, ddof=1).mean()))
        found["lira"] = (signals.student - mean) / (spread or 1.0)
        unseen = expit(signals.references).mean(0)
        found["rmia"] = expit(signals.student) / (((1 + OFFLINE) * unseen + 1 - OFFLINE) / 2)
    return found


def attacked(
    members: Signals, non_members: Signals, *, delta: float, seed: int = 0, num_resamples: int = 500
) -> tuple[Attack, ...]:
    """Run every attack on one student: members (N,) it was trained on, non-members (M,) it never saw."""
    ins, outs = scores(members), scores(non_members)
    finite = members.are_finite and non_members.are_finite
    return tuple(
        _attack(name, ins[name], outs[name], finite, delta, seed, num_resamples)
        for name in ins
        if name in outs
    )


def lowest_level(num_non_members: int) -> float | None:
    """Return the lowest rate of false positives at which a non-member lies above the threshold: 100 of them for 1 %."""
    return next((level for level in LEVELS if num_non_members * level >= 1 - 1e-9), None)


def exact_rate(hits: int, n: int, tail: float = _TAIL) -> Rate:
    """Return a share with its interval by Clopper and Pearson (Biometrika 26, 1934), `tail` on each side."""
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return Rate(hits=hits, n=n, low=low, high=high)


def true_positive_rate(members: Array, non_members: Array, level: float) -> Rate:
    """Return the share of members above the threshold that a share `level` of all non-members lies above.

    No member helps to set the threshold, so counting them does not flatter the attack. The interval is exact and pays
    for both samples, a quarter of 5 % for each side of each: of n non-members the share that truly lies above the k-th
    largest is Beta(k, n - k + 1), so one k gives a threshold that is surely too high, another one surely too low;
    Clopper and Pearson bound the members above either.
    """
    n, tail = non_members.size, _TAIL / 2
    falling = np.sort(non_members)[::-1]
    hits = int((members > falling[math.floor(n * level + 1e-9)]).sum())
    sure = int(binom.ppf(tail, n, level))  # the largest k with P[Bin(n, level) < k] <= tail
    while binom.cdf(sure - 1, n, level) > tail:
        sure -= 1
    enough = int(binom.isf(tail, n, level)) + 1  # the smallest k with P[Bin(n, level) >= k] <= tail
    low = exact_rate(int((members > falling[sure - 1]).sum()), members.size, tail).low if sure else 0.0
    high = (
        exact_rate(int((members >= falling[enough - 1]).sum()), members.size, tail).high
        if enough <= n
        else 1.0
    )
    return Rate(hits=hits, n=members.size, low=low, high=high)


def epsilon_seen(members: Array, non_members: Array, *, delta: float, seed: int) -> EpsilonSeen:
    """Return what this run shows of epsilon (one-run audit, Steinke et al., arXiv 2305.08846, theorem 5.2).

    Of each pair of a member and a non-member a fair coin names the candidate, so that each candidate is a member by a
    coin that the attack does not see. The tenth with the highest scores is called members, the tenth with the lowest
    non-members: fixed beforehand, so no choice has to be paid for.
    """
    random = np.random.default_rng([seed, 1])
    pairs = min(members.size, non_members.size)
    is_member = random.random(pairs) < 0.5
    kept = [random.permutation(scores.size)[:pairs] for scores in (members, non_members)]
    candidates = np.where(is_member, members[kept[0]], non_members[kept[1]])
    order, each = np.argsort(candidates, kind="stable"), max(1, round(GUESSED * pairs))
    right = int(is_member[order[-each:]].sum() + (~is_member[order[:each]]).sum())
    guesses = 2 * each
    return EpsilonSeen(
        at_least=_bound(pairs, guesses, right, delta),
        ceiling=_bound(pairs, guesses, guesses, delta),
        candidates=pairs,
        guesses=guesses,
        right=right,
    )


def chance_of_so_many(candidates: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """Return the largest probability, under (epsilon, delta), of at least `right` right guesses (the audit's p-value).

    Each guess is right like a coin of e^epsilon / (1 + e^epsilon); delta adds 2 delta m max_i P[v > B >= v - i] / i
    for m candidates and v right guesses (arXiv 2305.08846, theorem 5.2).
    """
    chance = float(expit(epsilon))
    tail = float(binom.sf(right - 1, guesses, chance))
    below = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), guesses, chance))
    extra = float((below / np.arange(1, right + 1)).max()) if right else 0.0
    return min(1.0, tail + 2 * delta * candidates * extra)


def _bound(candidates: int, guesses: int, right: int, delta: float) -> float:
    """Return the largest epsilon that so many right guesses refute with 95 % confidence, by bisection."""
    low, high = 0.0, _MOST_EPSILON

    def refuted(epsilon: float) -> bool:
        return chance_of_so_many(candidates, guesses, right, epsilon, delta) < 1 - _CONFIDENCE

    if not refuted(0.0):
        return 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def _attack(
    name: AttackName, members: Array, non_members: Array, finite: bool, delta: float, seed: int, resamples: int
) -> Attack:  # fmt: skip
    counts = {"num_members": members.size, "num_non_members": non_members.size}
    why = "" if finite else NOT_FINITE
    for what, patients in (("members", members), ("non-members", non_members)):
        if patients.size < FEWEST:
            why = f"too few {what}: {patients.size}, at least {FEWEST} are needed"
    if why:
        return Attack(attack=name, **counts, auc=Interval(value=None, reason=why), reason=why)
    level = lowest_level(non_members.size)
    if level is None:  # FEWEST is what the highest level needs
        raise AssertionError(non_members.size)
    needed = math.ceil(1 / LEVEL)
    few = f"too few non-members for {100 * LEVEL:.0f} %: {non_members.size}, at least {needed} are needed"
    return Attack(
        attack=name,
        **counts,
        auc=_auc(members, non_members, seed, resamples),
        level=level,
        true_positive=true_positive_rate(members, non_members, level),
        epsilon_seen=epsilon_seen(members, non_members, delta=delta, seed=seed),
        reason="" if level == LEVEL else few,
    )


def _auc(members: Array, non_members: Array, seed: int, num_resamples: int) -> Interval:
    """Area under the curve of true over false positives, with its interval over patients; 0.5 is chance."""
    joined = np.concatenate([members, non_members])
    truth = np.arange(joined.size) < members.size
    value = float(weighted_auc(joined, truth, np.ones((1, joined.size)))[0])
    resamples = patient_resamples(np.arange(joined.size), num_resamples, seed)
    draws = np.concatenate([weighted_auc(joined, truth, weights) for weights in resamples])
    edge = min(members.size, non_members.size)
    return percentile_interval(value, draws, joined.size, edge_units=edge)
