"""Opacus's two accountants, asked so that no warning is needed to know that a figure cannot be trusted.

In: a history of mechanisms and delta, all public. Out: epsilon, an upper bound, or an error where a number overflowed
or an integral did not converge. Opacus by itself says so in warnings, whose filters belong to the whole process:
turning them into errors here ended what another thread was doing. Loading this takes more than a second.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from scipy import integrate

from shared.privacy.opacus_formulas import formulas

Row = tuple[float, float, int]  # noise_multiplier, sample_rate, steps
_MOST_INTERVALS = 500  # that an integral is divided into
_FINEST = -5  # power of ten next to 0 at which integrals are cut
_MARGIN = 3  # added to the largest loss that is looked at
_ORDERS = np.array([*(1 + tenth / 10 for tenth in range(1, 100)), *range(12, 64)], float)  # Opacus's own
_PRV, _RDP = formulas("prv"), formulas("rdp")
_SampledGaussian: Any = _PRV.PoissonSubsampledGaussianPRV
_TruncatedLoss: Any = _PRV.TruncatedPrivacyRandomVariable


def rdp_bound(history: Sequence[Row], delta: float) -> float:
    """Return epsilon by Rényi differential privacy at Opacus's orders (arXiv 1905.09982, theorem 21).

    Infinite where a number overflows on the way: that is an upper bound too.
    """
    try:
        with np.errstate(over="raise", divide="raise", invalid="raise"):
            spent = np.zeros(len(_ORDERS))
            for sigma, rate, steps in history:
                spent += _RDP.compute_rdp(q=rate, noise_multiplier=sigma, steps=steps, orders=list(_ORDERS))
            log_orders = np.log(_ORDERS)
            epsilon = spent - (math.log(delta) + log_orders) / (_ORDERS - 1) + np.log((_ORDERS - 1) / _ORDERS)
    except ArithmeticError:
        return math.inf
    known = epsilon[~np.isnan(epsilon)]
    return float(known.min(initial=math.inf))


def prv_bound(history: Sequence[Row], delta: float, eps_error: float) -> float:
    """Return epsilon by numerical composition, its upper bound (arXiv 2106.02848).

    `ArithmeticError` where a number overflows or an integral does not converge; Opacus raises others at odd settings.
    """
    delta_error = delta / 1000
    domain = _domain(history, eps_error, delta_error)
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        parts = [
            _PRV.discretize(_Truncated(_Loss(rate, sigma), domain.t_min, domain.t_max), domain)
            for sigma, rate, _ in history
        ]
        whole = _PRV.compose_heterogeneous(parts, [steps for _, _, steps in history])
        _, _, upper = whole.compute_epsilon(delta, delta_error, eps_error)
    return float(upper)


def _domain(history: Sequence[Row], eps_error: float, delta_error: float) -> Any:
    """Return the losses that are looked at, and how finely (arXiv 2106.02848, remark 5.6, as Opacus reads it)."""
    num_steps = sum(steps for _, _, steps in history)
    single = delta_error / (8 * num_steps)
    ends = [rdp_bound([(sigma, rate, 1)], single) for sigma, rate, _ in history]
    end = max(rdp_bound(history, delta_error / 4), *ends, eps_error) + _MARGIN
    mesh = eps_error / math.sqrt(num_steps * math.log(12 / delta_error) / 2)
    return _PRV.Domain.create_aligned(-end, end, mesh)


class _Loss(_SampledGaussian):  # type: ignore[misc]  # Opacus has no types
    """The privacy loss of a step, also at a sample rate of 1: its formula handles log(1 - 1), minus infinity."""

    def cdf(self, t: Any) -> Any:
        with np.errstate(divide="ignore" if self.sample_rate == 1 else "raise"):
            return super().cdf(t)


class _Truncated(_TruncatedLoss):  # type: ignore[misc]  # likewise
    """A truncated privacy loss whose mean is known, or an error."""

    def mean(self) -> float:
        """Return the mean, by parts: the ends of each interval less the integral of the distribution function."""
        mean = 0.0
        for left, right in pairwise(self._cuts()):
            area, _, _, *trouble = integrate.quad(
                self.cdf, left, right, limit=_MOST_INTERVALS, full_output=True
            )
            if trouble:
                raise ArithmeticError(f"the mean of the privacy loss: {trouble[0]}")
            mean += right * self.cdf(right) - left * self.cdf(left) - area
        return float(mean)

    def _cuts(self) -> list[float]:
        below, above = int(math.log10(abs(self.t_min))), int(math.log10(self.t_max))
        return [
            self.t_min,
            *-np.logspace(below, _FINEST, num=10),
            0.0,
            *np.logspace(_FINEST, above, num=10),
            self.t_max,
        ]
