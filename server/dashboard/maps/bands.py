"""Intervals of noised maps of sites: of one site, of all together, and of a site against all.

In: the mean map that a site released, with the noise that its door added, and how much patients differ on the public
reference set. Out: each cell with an interval made of both, sampling and privacy noise. Readers fail at combining two
bars in their head (arXiv 2512.06534), so a difference has an interval of its own. Below the minimum nothing is said.

All values are shares of energy, times uniform; arrays are (rows, columns).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.special import stdtrit

from server.dashboard.maps.cells import EVEN, Cells
from server.dashboard.maps.colours import Floats

LEVEL: Final = 0.95  # of one interval
JOINT_LEVEL: Final = (
    0.96  # of all cells' together: of 100 maps of noise alone, 4 show any cell, and 5 is the most allowed
)
FEWEST_PATIENTS: Final = 20
_DARKEST: Final = 1e-3  # of a reference cell that another is held against
MOST_NOISE: Final = 1 / 3  # of an even map's cell: beyond, noise would be read as lesions


@dataclass(frozen=True, eq=False)
class Spread:
    """Mean and standard deviation of each cell between patients, and how many patients they were seen on."""

    mean: Floats
    std: Floats
    num_patients: int


@dataclass(frozen=True, eq=False)
class Estimate:
    """A value for each cell, and the variance that sampling patients and privacy noise give it.

    `freedom` is the degrees of freedom behind the sampling variance, which is itself an estimate.
    """

    values: Floats
    sampling: Floats
    privacy: Floats
    freedom: float

    @property
    def std(self) -> Floats:
        """Standard deviation of each value, from both."""
        both: Floats = np.sqrt(self.sampling + self.privacy)
        return both

    @property
    def privacy_share(self) -> float:
        """Part of the variance that is privacy noise, over all cells."""
        total = float((self.sampling + self.privacy).sum())
        return float(self.privacy.sum()) / total if total > 0 else 0.0

    def half_width(self, num_cells: int = 1) -> Floats:
        """Half of a 95 percent interval; for more than one cell, of one that holds for all together (Bonferroni)."""
        level = LEVEL if num_cells == 1 else JOINT_LEVEL
        total = self.sampling + self.privacy
        with np.errstate(invalid="ignore", divide="ignore"):
            part = np.where(total > 0, self.sampling / total, 0.0)
            freedom = self.freedom / part**2  # Welch and Satterthwaite: privacy noise is known exactly
        width: Floats = stdtrit(freedom, 1 - (1 - level) / (2 * num_cells)) * self.std
        return width

    def cells(self, expected: float = EVEN) -> Cells:
        """Return values with intervals that are corrected for the number of cells."""
        half = self.half_width(self.values.size)
        return Cells(self.values, self.values - half, self.values + half, expected)


def enough(num_patients: int, noise_std: float | None) -> bool:
    """Tell whether a site's map may be shown at all."""
    return num_patients >= FEWEST_PATIENTS and (noise_std or 0.0) <= MOST_NOISE


def spread_of(reference: Cells, num_patients: int) -> Spread | None:
    """Return how much patients differ on a reference map; None where that is not known.

    Where no standard deviation is on record it is read from the upper arms of the intervals (a share is never below
    0, so lower arms may end early). They are Student's t, corrected for the number of cells; what else widened them
    (`server.audit.mean_maps`) errs on the safe side.
    """
    if num_patients < 2:
        return None
    if reference.std is not None:
        return Spread(reference.values, reference.std, num_patients)
    if reference.high is None:
        return None
    arm = reference.high - reference.values
    chance = 1 - (1 - LEVEL) / (2 * arm.size)
    quantile = stdtrit(num_patients - 1, chance)
    return Spread(reference.values, arm / quantile * math.sqrt(num_patients), num_patients)


def on_cells(spread: Spread, shape: tuple[int, ...]) -> Spread | None:
    """Return the spread of patients on coarser cells; None where those do not hold whole finer ones.

    A coarse cell is the mean of finer ones, which vary together at most: the mean of their deviations bounds its own.
    """
    rows, columns = spread.std.shape
    if rows % shape[0] or columns % shape[1]:
        return None
    split = (shape[0], rows // shape[0], shape[1], columns // shape[1])
    mean, std = (one.reshape(split).mean(axis=(1, 3)) for one in (spread.mean, spread.std))
    return Spread(mean, std, spread.num_patients)


def single(values: Floats, num_patients: int, noise_std: float | None, spread: Spread) -> Estimate:
    """One site's mean over `num_patients`; `noise_std` is of each value.

    Shares vary the more the larger they are, so where a site's cell is brighter than the reference's, the variance
    between patients is taken to be larger in proportion. It is never taken to be smaller.
    """
    privacy = np.full(values.shape, (noise_std or 0.0) ** 2)
    brighter = np.maximum(values / np.maximum(spread.mean, _DARKEST), 1)
    return Estimate(values, spread.std**2 * brighter / num_patients, privacy, spread.num_patients - 1)


def pooled(sites: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
    """All sites' patients together: each site counts by its weight, such as its number of patients."""
    return _combined(sites, [weight / sum(weights) for weight in weights])


def site_minus_pool(sites: Sequence[Estimate], weights: Sequence[float], index: int) -> Estimate:
    """One site less all sites; the site is one of them, so the two are not independent."""
    shares = [-weight / sum(weights) for weight in weights]
    shares[index] += 1
    return _combined(sites, shares)


def _combined(sites: Sequence[Estimate], factors: Sequence[float]) -> Estimate:
    """Sum of independent estimates times factors; their spread comes from one reference set, hence one `freedom`."""
    pairs = list(zip(factors, sites, strict=True))
    return Estimate(
        values=np.sum([factor * one.values for factor, one in pairs], axis=0),
        sampling=np.sum([factor**2 * one.sampling for factor, one in pairs], axis=0),
        privacy=np.sum([factor**2 * one.privacy for factor, one in pairs], axis=0),
        freedom=min(one.freedom for one in sites),
    )
