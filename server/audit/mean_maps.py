"""Mean maps: where a model looks on average, in one frame, and how sure that is, cell by cell.

In: energy over area of single images (`shared.explain.frames.lifts`), with the patient of each. Out: their mean (1 is
uniform) with 95 percent intervals that hold for all cells of a map together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from server.store.record_kinds import Grid

Floats = npt.NDArray[np.float64]
TAIL: Final = 0.025  # each side of a 95 percent interval, before it is divided among the cells
FEWEST_PATIENTS: Final = 2  # with an interval
_DIGITS: Final = 4
_SYMMETRIC: Final = 1e-6  # skewness below which the correction for it would divide by nearly nothing


@dataclass(frozen=True)
class MeanMap:
    """A mean over images that have evidence; `grid` None where none has. Others are counted, not averaged."""

    grid: Grid | None
    num_images: int
    num_patients: int
    num_without_evidence: int


def mean_map(
    patients: Sequence[int], found: Sequence[Floats | None], *, expected: float = 1.0, spread: float = 1.0
) -> MeanMap:
    """Average maps (side, side) over images; the interval takes a patient's images together.

    None stands for an image without evidence. `expected` is the value of a map that says nothing;
    `spread` is how far from it two patients are imagined (see `_interval`).
    """
    pairs = [(patient, one) for patient, one in zip(patients, found, strict=True) if one is not None]
    grid = None
    if pairs:
        values = np.array([one.ravel() for _, one in pairs])
        each = contributions(np.array([patient for patient, _ in pairs]), values)
        low, high = _interval(each, expected, spread)
        rows, columns = pairs[0][1].shape
        grid = Grid(
            rows=rows,
            columns=columns,
            values=_rounded(values.mean(0)),
            low=_rounded(low),
            high=_rounded(high),
            std=_rounded(each.std(0, ddof=1)) if len(each) >= FEWEST_PATIENTS else (),
        )
    return MeanMap(grid, len(found), len(set(patients)), len(found) - len(pairs))


def difference_map(
    patients: Sequence[int], first: Sequence[Floats | None], second: Sequence[Floats | None]
) -> MeanMap:
    """Average the first map less the second over the images on which both have evidence."""
    pairs = zip(first, second, strict=True)
    found = [None if a is None or b is None else a - b for a, b in pairs]
    return mean_map(patients, found, expected=0.0, spread=2.0)  # each of both maps may be one unit off


def _interval(each: Floats, expected: float, spread: float) -> tuple[Floats, Floats]:
    """Bounds (cells,) of the mean of what patients say (P, cells), for all cells together; empty below two patients.

    Student's t of the patients' contributions, corrected for skewness by Hall's transformation (J. R. Statist. Soc. B
    54, 1992, 221-228) and for the number of cells by Bonferroni. Two patients are added that nobody saw, `spread`
    below what is expected and as much above: without them a cell that is empty on the few images that there are would
    seem certain (as Agresti and Coull 1998 do for proportions).
    """
    if len(each) < FEWEST_PATIENTS:
        return np.empty(0), np.empty(0)
    cells = each.shape[1]
    each = np.vstack([each, np.full(cells, expected - spread), np.full(cells, expected + spread)])
    count, mean = len(each), each.mean(0)
    quantile = float(stats.t.ppf(1 - TAIL / cells, count - 1))
    error = each.std(0, ddof=1) / count**0.5
    skew = stats.skew(each, axis=0) / count**0.5
    low, high = mean - _untwisted(quantile, skew) * error, mean - _untwisted(-quantile, skew) * error
    return (np.maximum(low, 0) if expected else low), high


def contributions(patients: npt.NDArray[np.int64], values: Floats) -> Floats:
    """Return what each patient says of the mean over images (P, cells); their plain mean is that mean.

    Linearised ratio of sums over images and numbers of images; with one image each, the values themselves.
    """
    index = np.unique(patients, return_inverse=True)[1].reshape(-1)
    counts = np.bincount(index).astype(np.float64)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, index, values)
    mean = values.mean(0)
    result: Floats = mean + (sums - mean * counts[:, None]) / counts.mean()
    return result


def _untwisted(quantile: float, skew: Floats) -> Floats:
    """Hall's transformation, inverted: the skew statistic's quantile where Student's is `quantile`.

    `skew` is the skewness over the root of the number of patients.
    """
    some = np.where(np.abs(skew) < _SYMMETRIC, _SYMMETRIC, skew)
    result: Floats = (np.cbrt(1 + some * (quantile - some / 6)) - 1) / (some / 3)
    return result


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(np.round(values, _DIGITS).tolist())
