"""A figure, its 95 % interval, and the resampling of patients behind it.

In: arrays about public test patients. Out: frozen intervals. Intervals resample patients, not images: images
of one patient are not independent. Where all resamples agree at the edge (nothing went wrong), the exact
one-sided bound is given instead: twenty right answers do not show that there are no wrong ones.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from shared.config.values import Frozen

Array = npt.NDArray[np.float64]
TAIL = 0.025  # each side of a 95 % interval
FEWEST_PATIENTS = 5  # resamples of fewer say little of others: of one, that nothing ever varies
TOO_FEW = "too few patients for an interval"
_FEWEST_DRAWS = 20
_WEIGHTS_AT_ONCE = 4_000_000  # resamples x images held in memory: 32 MB


class Interval(Frozen):
    """A figure with its 95 % interval; a `value` of None could not be computed, `reason` says why."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""


class Bin(Frozen):
    """One bin of the reliability diagram: mean confidence, share that was right, number of images."""

    confidence: float
    accuracy: float
    num_images: int


def patient_resamples(patients: npt.NDArray[np.int64], num_resamples: int, seed: int) -> Iterator[Array]:
    """Yield weights (R, N): how often the patient of each of N images was drawn in each resample.

    `patients` (N,) holds numbers from 0 to P - 1; each resample draws P patients with replacement.
    """
    rng, count = np.random.default_rng(seed), int(patients.max()) + 1
    step = max(1, _WEIGHTS_AT_ONCE // patients.size)
    for start in range(0, num_resamples, step):
        rows = min(step, num_resamples - start)
        drawn = rng.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield times[:, patients].astype(np.float64)


def percentile_interval(value: float, draws: Array, n: int, *, edge_units: int = 0) -> Interval:
    """95 % percentile interval of the finite draws (R,); at an edge, the bound of `edge_units` successes.

    If u independent trials all succeed, the chance p of one satisfies p >= 0.025 ** (1 / u) with 97.5 %
    confidence. Behind an AUC of 1, disjoint pairs of one positive and one negative patient are such trials.
    With `edge_units` 0 the percentiles stand as they are.
    """
    finite = draws[np.isfinite(draws)]
    if finite.size < _FEWEST_DRAWS:
        return Interval(value=float(value), n=n, reason="too few resamples held every class for an interval")
    low, high = (float(np.quantile(finite, tail)) for tail in (TAIL, 1 - TAIL))
    if edge_units and low == high == value == 1:
        low = TAIL ** (1 / edge_units)
    if edge_units and low == high == value == 0:
        high = 1 - TAIL ** (1 / edge_units)
    return Interval(value=float(value), low=low, high=high, n=n)


def weighted_auc(scores: Array, truth: npt.NDArray[np.bool_], weights: Array) -> Array:
    """Mann-Whitney statistic of scores (N,) under each row of weights (R, N) -> (R,); ties count half.

    NaN where a row gives all its weight to one class.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) > 0])
    sorted_weights, positive = weights[:, order], truth[order]
    ups = np.add.reduceat(sorted_weights * positive, starts, axis=1)
    downs = np.add.reduceat(sorted_weights * ~positive, starts, axis=1)
    below = np.cumsum(downs, axis=1) - downs / 2
    return ratio((ups * below).sum(1), ups.sum(1) * downs.sum(1))


def ratio(above: Array, below: Array) -> Array:
    """Divide; 0 / 0 is NaN without a warning."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Array = above / below
    return result
