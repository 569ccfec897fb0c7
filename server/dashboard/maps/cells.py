"""The cells of a mean map, and which of them stand out from noise.

In: a stored grid. Out: values by row and column, and whether each cell's own interval, which is corrected for the
number of cells, leaves out what an even map would have there. Cells stay as they were released: nothing is smoothed.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt

from server.dashboard.maps.colours import Floats
from server.store.record_kinds import Grid
from shared.explain.scale import NEARLY_UNIFORM

T = TypeVar("T", bound=np.generic)
Bools = npt.NDArray[np.bool_]
EVEN: Final = 1.0  # the value of every cell of a map that is equal everywhere
PLACES: Final = (
    ("upper left", "upper middle", "upper right"),
    ("left", "centre", "right"),
    ("lower left", "lower middle", "lower right"),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Cells:
    """Values (rows, columns) with their interval, if one was measured; `expected` is what noise alone would give."""

    values: Floats
    low: Floats | None = None
    high: Floats | None = None
    expected: float = EVEN
    std: Floats | None = None  # between patients

    @property
    def stands_out(self) -> Bools:
        """Cells whose interval leaves out the expected value; without intervals, none can be told from noise."""
        if self.low is None or self.high is None:
            return np.zeros(self.values.shape, bool)
        return (self.low > self.expected) | (self.high < self.expected)

    @property
    def has_intervals(self) -> bool:
        """Tell whether every cell has an interval."""
        return self.low is not None and self.high is not None


def of_grid(grid: Grid, expected: float = EVEN) -> Cells:
    """Return the cells of a stored grid; its intervals are used where it has them."""
    shape = (grid.rows, grid.columns)

    def shaped(values: tuple[float, ...]) -> Floats:
        return np.array(values, np.float64).reshape(shape)

    values, count = shaped(grid.values), len(grid.values)
    std = shaped(grid.std) if len(grid.std) == count else None
    if len(grid.low) != count or len(grid.high) != count:
        return Cells(values, expected=expected, std=std)
    return Cells(values, shaped(grid.low), shaped(grid.high), expected, std)


def holding(values: Floats, share: float) -> Bools | None:
    """Return the smallest set of cells that holds `share` of the energy; None where a line would give a false shape.

    Energy is never negative: what noise pushed below 0 counts as 0. A map is too even for a contour where the set
    is nearly as large as an even map's would be.
    """
    energy = values.clip(0)
    total = float(energy.sum())
    if total <= 0:
        return None
    falling = np.sort(energy, axis=None)[::-1]
    least = falling[np.searchsorted(falling.cumsum(), share * total * (1 - 1e-12))]
    inside: Bools = energy >= least
    return None if float(inside.mean()) > NEARLY_UNIFORM * share else inside


def strongest(values: Floats, among: Bools, count: int = 2) -> list[tuple[str, float]]:
    """Name the ninths of the picture whose cells `among` have the highest mean, with that mean, highest first."""
    bands = [((np.arange(side) + 0.5) * 3 / side).astype(int) for side in values.shape]
    found = []
    for row, names in enumerate(PLACES):
        for column, name in enumerate(names):
            place = np.ix_(bands[0] == row, bands[1] == column)
            if among[place].any():
                found.append((name, float(values[place][among[place]].mean())))
    return sorted(found, key=lambda one: -one[1])[:count]


def enlarged(cells: npt.NDArray[T], side: int) -> npt.NDArray[T]:
    """Repeat cells (rows, columns, ...) to a square of `side` pixels, their sizes at most one pixel apart."""
    rows, columns = (np.arange(side) * count // side for count in cells.shape[:2])
    return cells[np.ix_(rows, columns)]
