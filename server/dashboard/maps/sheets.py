"""A sheet: squares of maps in one PNG, named by the digest of everything that is drawn on it.

In: cells and a style for each square. Out: an address that never changes its content, and the bytes behind it. One
file a figure keeps a page within its number of requests.
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from server.dashboard.maps import draw
from server.dashboard.maps.cells import Cells

SIDE_PX: Final = 224
SMALL_PX: Final = 168  # of a square that is one of many


@dataclass(frozen=True, eq=False)
class Square:
    """One map on a sheet; without cells nothing is drawn, the film stays bare, and `note` says why."""

    style: draw.Style
    cells: Cells | None
    note: str = ""
    under: bool = False  # colours stay under the hatching


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

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides what the picture looks like."""
        said = hashlib.sha256(f"{draw.RENDERING} {self.side} {self.columns} {len(self.squares)}".encode())
        for one in self.squares:
            said.update(
                f"\n{one.style} {one.under} ".encode() + (b"none" if one.cells is None else _plain(one.cells))
            )
        return said.hexdigest()

    def png(self) -> bytes:
        """Draw it; equal sheets give equal bytes."""
        layers = [
            None if one.cells is None else draw.layer(one.style, self.side, one.cells, under=one.under)
            for one in self.squares
        ]
        return draw.png(draw.sheet(layers, self.side, self.columns))


def _plain(cells: Cells) -> bytes:
    edges = (cells.values, cells.low, cells.high)
    parts = [b"none" if edge is None else edge.astype("<f8").tobytes() for edge in edges]
    return f"{cells.values.shape} {cells.expected} {cells.has_intervals} ".encode() + b"".join(parts)
