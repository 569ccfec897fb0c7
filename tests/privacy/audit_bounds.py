"""What an audit may conclude: lower bounds on epsilon and mu, each wrong with a chance that is stated.

In: counts of right guesses, or of hits and false alarms. Out: the smallest epsilon (or the smallest mu of a Gaussian
mechanism) that a sound mechanism would need to show as much, except with chance `p`.
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import beta, binom, norm
from scipy.stats import t as student

MISTAKE = 1e-4  # chance that an audit names a sound engine


def one_run_epsilon(canaries: int, guesses: int, right: int, delta: float, p: float = MISTAKE) -> float:
    """Return the lower bound on epsilon from one run (arXiv 2305.08846, theorem 5.2).

    `canaries` patients were in or out by fair coins; of `guesses` guesses about them `right` were right.
    """

    def chance(epsilon: float) -> float:
        sound = 1 / (1 + math.exp(-epsilon))
        tail = float(binom.sf(right - 1, guesses, sound))
        steps = np.cumsum(binom.pmf(np.arange(right - 1, -1, -1), guesses, sound)) / np.arange(1, right + 1)
        return tail + float(steps.max(initial=0.0)) * delta * 2 * canaries

    return _largest(lambda epsilon: chance(epsilon) < p)


def threshold_rates(hits: int, alarms: int, trials: int, p: float = MISTAKE) -> tuple[float, float]:
    """Return the least true positive rate and the largest false positive rate (Clopper-Pearson); wrong with p."""
    least = 0.0 if hits == 0 else float(beta.ppf(p / 2, hits, trials - hits + 1))
    most = 1.0 if alarms == trials else float(beta.ppf(1 - p / 2, alarms + 1, trials - alarms))
    return least, most


def threshold_mu(hits: int, alarms: int, trials: int, p: float = MISTAKE) -> float:
    """Return the least mu of a mu-GDP mechanism (arXiv 1905.02383) under which a threshold attack does as well.

    A Gaussian sum of sensitivity C and noise sigma C is exactly 1/sigma-GDP: tighter than epsilon and delta alone
    (arXiv 2302.07956).
    """
    least, most = threshold_rates(hits, alarms, trials, p)
    if least <= 0 or most >= 1:
        return 0.0
    return max(0.0, float(norm.ppf(least) - norm.ppf(most)))


def mean_mu(with_it: np.ndarray, without: np.ndarray, p: float = MISTAKE) -> float:
    """Return the least mu from the means of Gaussian scores: few answers tell more so than counts at a threshold.

    Their own standard deviation is used, in units of which a Gaussian mechanism moves by at most mu.
    """
    trials = len(with_it)
    spread = math.sqrt((with_it.var(ddof=1) + without.var(ddof=1)) / 2)
    difference = float(with_it.mean() - without.mean())
    margin = float(student.isf(p, 2 * trials - 2)) * spread * math.sqrt(2 / trials)
    return max(0.0, (difference - margin) / spread)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Return epsilon at delta of a mu-GDP mechanism (arXiv 1905.02383, corollary 2.13)."""
    if mu <= 0:
        return 0.0

    def spent(epsilon: float) -> float:
        return float(norm.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2))

    return _largest(lambda epsilon: spent(epsilon) > delta)


def _largest(is_below: Callable[[float], bool], limit: float = 60.0) -> float:
    """Return the largest value up to `limit` for which a falling condition is true."""
    low, high = 0.0, limit
    if not is_below(low):
        return 0.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low
