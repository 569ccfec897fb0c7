"""Merging updates: a running mean with public weights, in an order that does not depend on arrival."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from shared.arrays import Arrays
from shared.errors import WeightsError


@dataclass
class RunningMean:
    """Weighted mean of updates, kept as one float64 sum.

    Floating-point sums depend on their order, so updates are added in the order of `sites`: one that
    arrives early waits until those before it came or are known to be missing.
    """

    sites: tuple[str, ...]
    weights: Mapping[str, float]
    _early: dict[str, Arrays] = field(default_factory=dict)
    _sum: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] = field(default_factory=dict)
    _total: float = 0.0
    _next: int = 0

    def add(self, site: str, update: Arrays) -> None:
        """Take one site's update; its weight is public (the declared number of patients)."""
        self._early[site] = update
        while self._next < len(self.sites) and self.sites[self._next] in self._early:
            self._absorb(self.sites[self._next])
            self._next += 1

    def mean(self) -> Arrays:
        """Return the weighted mean of all updates taken; `WeightsError` when there are none."""
        for site in self.sites:
            if site in self._early:
                self._absorb(site)
        if self._total == 0:
            raise WeightsError(
                "updates: none was accepted, at least one is needed; look at the round's events"
            )
        return {name: (total / self._total).astype(np.float32) for name, total in self._sum.items()}

    def _absorb(self, site: str) -> None:
        update, weight = self._early.pop(site), self.weights[site]
        for name, array in update.items():
            self._sum[name] = self._sum.get(name, np.zeros(array.shape)) + weight * array.astype(np.float64)
        self._total += weight


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
