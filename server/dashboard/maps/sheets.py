"""A sheet: squares of maps in one PNG, named by the digest of everything that is drawn on it.

In: cells and a style for each square. Out: an address that never changes its content, and the bytes behind it. One
file a figure keeps a page within its number of requests.
"""

import hashlib
from dataclasses import dataclass
from typing import Final

from server.dashboard.maps import draw
from server.dashboard.maps.cells import Cells
from server.store.chain import canonical

SIDE_PX: Final = 224
SMALL_PX: Final = 168  # of a square that is one of many


@dataclass(frozen=True, eq=False)
class Square:
    """One map on a sheet; without cells nothing is drawn, the film stays bare, and `note` says why."""

    style: draw.Style
    cells: Cells | None
    note: str = ""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Squares in rows of `columns`."""

    squares: tuple[Square, ...]
    columns: int
    side: int = SIDE_PX

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        count = len(self.squares)
        left = draw.corner_of(min(count, self.columns) - 1, self.side, self.columns)[0]
        top = draw.corner_of(count - 1, self.side, self.columns)[1]
        return left + self.side, top + self.side

    @property
    def digest(self) -> str:
        """SHA-256 of everything that decides what the picture looks like."""
        squares = [None if one.cells is None else [one.style, *_plain(one.cells)] for one in self.squares]
        said = canonical([draw.RENDERING, self.side, self.columns, squares])
        return hashlib.sha256(said.encode()).hexdigest()

    def png(self) -> bytes:
        """Draw it; equal sheets give equal bytes."""
        layers = [
            None if one.cells is None else draw.layer(one.style, self.side, one.cells) for one in self.squares
        ]
        return draw.png(draw.sheet(layers, self.side, self.columns))


def _plain(cells: Cells) -> list[object]:
    intervals = [None if edge is None else edge.tolist() for edge in (cells.low, cells.high)]
    return [cells.values.tolist(), *intervals, cells.expected]
