"""Merging updates: a running mean with public weights that does not depend on the order of arrival.

And how far an update that travelled as float16 can be from what its site computed: the hub never sees the values before
rounding, but each that came tells how wide the steps of float16 are where it lies.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import WeightsError
from shared.models.arrays import Arrays

_QUANTUM: Final = 2.0**-42  # times 2^62 this is 2^20, a million: the largest value of an update
_HALF_STEPS: Final = np.exp2(np.maximum(np.arange(256) - 138.0, -25.0))
"""Half a step of float16 by the exponent field of a float32, which is 127 more than the exponent: steps are 2^-10 of a
value's power of two, and 2^-24 at the least. Rounding to nearest moves a value by at most half a step."""


class RunningMean:
    """Weighted mean of updates, taken as they come and kept as one exact sum: no bit depends on who came first.

    Sums of floating-point numbers depend on their order. So each site's share of the mean is rounded once, to a
    multiple of 2^-42 (far below what float32 keeps of an update), and shares are added as 64-bit integers. The
    largest update that the door lets in, a million, leaves the integers room for the mean of any number of sites.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        """`weights` has every site that may answer; they are public (declared numbers of patients)."""
        total = sum(weights.values())
        self._shares = {site: weight / total for site, weight in weights.items()}
        self._sum: dict[str, NDArray[np.int64]] = {}
        self._answered = 0.0

    def add(self, site: str, update: Arrays) -> None:
        """Take one site's update, whose values are at most `UpdateRelease.array_limit`."""
        share = self._shares.pop(site)  # a site counts once
        self._answered += share
        for name, array in update.items():
            quanta = np.multiply(array, share / _QUANTUM, dtype=np.float64)
            part = np.rint(quanta, out=quanta).astype(np.int64)
            if name in self._sum:
                self._sum[name] += part
            else:
                self._sum[name] = part

    def mean(self) -> Arrays:
        """Return the weighted mean of all updates taken; `WeightsError` when there are none."""
        if not self._sum:
            raise WeightsError(
                "updates: none was accepted, at least one is needed; look at the round's events"
            )
        scale = _QUANTUM / self._answered
        return {name: (total * scale).astype(np.float32) for name, total in self._sum.items()}


def update_norm(update: Arrays) -> float:
    """L2 norm of all arrays of one update together."""
    return float(np.sqrt(sum(float(np.square(array.astype(np.float64)).sum()) for array in update.values())))


def merged_step(velocity: Arrays, update: Arrays, momentum: float) -> Arrays:
    """Return the step of this round: the mean update and what is kept of the last step.

    v <- momentum * v + update, from v = 0 (FedAvgM; Hsu et al. 2019, arXiv:1909.06335).
    """
    if not (velocity and momentum):
        return update
    return {name: np.float32(momentum) * velocity[name] + update[name] for name in update}


def applied(weights: Arrays, step: Arrays) -> Arrays:
    """Return the weights moved by the step."""
    return {name: weights[name] + step[name] for name in weights}


def rounding_error(update: Arrays) -> float:
    """Return the largest L2 error of rounding to float16 over the L2 norm of the update; 0 for an update of zeros.

    On average an error is less by the square root of 3, for errors are spread evenly over half a step on each side.
    Values that float16 cannot hold (beyond 65504) are not in it; the bound on an update's norm is far below.
    """
    counts = np.zeros(256)
    squares = 0.0
    for array in update.values():
        flat = np.ascontiguousarray(array, np.float32).reshape(-1)
        counts += np.bincount((flat.view(np.uint32) >> 23) & 0xFF, minlength=256)
        squares += float(np.square(flat, dtype=np.float64).sum())
    return float(np.sqrt(counts @ np.square(_HALF_STEPS) / squares)) if squares else 0.0
