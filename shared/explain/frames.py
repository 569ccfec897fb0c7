"""Where a map lies in the body: its energy over area on a few cells of one frame that all images are brought into.

In: a map (H, W) and the box of a region, such as the lungs, on that image. Out: numbers on a grid of the frame, in
which every region fills the same box. A map of one image is about one person: of a hospital's patients such numbers
leave only as noised sums.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Box:
    """A rectangle on an image, in shares of its sides from the upper left corner."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Frame:
    """A common place for maps: `box` is where the region of every image comes to lie."""

    name: str
    box: Box


_LEAST_AREA: Final = 0.25  # of what a cell has that lies on the image whole
WHOLE: Final = Box(0, 0, 1, 1)
# near the median lungs of frontal films: 0.12, 0.14, 0.87, 0.85 on the X-ray pack, 0.16, 0.16, 0.84, 0.70 on phantoms
CHEST: Final = Frame("chest", Box(0.13, 0.14, 0.87, 0.82))
REGION: Final = Frame("region", Box(0.15, 0.15, 0.85, 0.85))  # masks of something else than lungs
FUNDUS: Final = Frame("fundus", WHOLE)  # reading has cut the photograph to its disc
IMAGE: Final = Frame("image", WHOLE)  # nothing is known to bring images together by


def box_of(region: npt.NDArray[np.bool_]) -> Box | None:
    """Return the box around a region mask (H, W); None where it is empty."""
    rows, columns = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    if rows.size == 0:
        return None
    height, width = region.shape
    return Box(
        float(columns[0] / width),
        float(rows[0] / height),
        float((columns[-1] + 1) / width),
        float((rows[-1] + 1) / height),
    )


def lifts(found: npt.ArrayLike, box: Box, frame: Frame, side: int) -> Floats | None:
    """Return, for `side` x `side` cells of the frame, a map's share of energy over the share of the image's area.

    1 is what a map that is the same everywhere has in every cell; where all cells are alike it is the share of energy
    times their number. None without energy. `found` (H, W) is at least 0; `box` is the region on this image. Each axis
    is moved and stretched by itself, so that the region's box becomes the frame's. Energy is summed over the area that
    a cell covers, exactly, and the outermost cells reach as far as the image does: what lies at its border stays in
    sight. A cell that hardly lies on the image is filled up with 1.
    """
    energy = np.asarray(found, np.float64)
    total = float(energy.sum())
    if not (np.isfinite(total) and total > 0):
        return None
    own, common = box, frame.box
    down = _overlap(side, energy.shape[0], (own.top, own.bottom), (common.top, common.bottom))
    across = _overlap(side, energy.shape[1], (own.left, own.right), (common.left, common.right))
    area = np.outer(down.mean(1), across.mean(1))
    stretched = (own.bottom - own.top) / (common.bottom - common.top)
    stretched *= (own.right - own.left) / (common.right - common.left)
    lacking = np.clip(_LEAST_AREA * stretched / side**2 - area, 0, None)
    result: Floats = (down @ energy @ across.T / total + lacking) / (area + lacking)
    return result


def _overlap(cells: int, pixels: int, own: tuple[float, float], common: tuple[float, float]) -> Floats:
    """Share of each pixel that lies in each cell (cells, pixels); each column sums to 1."""
    stretch = (own[1] - own[0]) / (common[1] - common[0])
    inner = own[0] + (np.arange(1, cells) / cells - common[0]) * stretch
    edges = np.concatenate([[-np.inf], inner, [np.inf]])[:, None]
    first, last = np.arange(pixels) / pixels, np.arange(1, pixels + 1) / pixels
    inside: Floats = np.minimum(edges[1:], last) - np.maximum(edges[:-1], first)
    return np.clip(inside, 0, None) * pixels
