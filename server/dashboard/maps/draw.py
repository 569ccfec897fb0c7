"""Draw one map as a square layer: the map alone, the map to be laid over a film, or a difference of two maps.

In: cells, and the grey film that lies below them. Out: RGBA, and PNG bytes. Cells that may be noise carry grey hatching
in place of a colour. Outlines of organs and the marks of the patient's sides belong to the SVG around the picture.
"""

import io
from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from server.dashboard.maps import colours
from server.dashboard.maps.cells import Bools, Cells, enlarged, holding
from server.dashboard.maps.colours import Floats, Layer
from shared.explain.scale import CONTOURS

Style = Literal["alone", "overlay", "difference"]
# part of every picture's address: raised whenever equal input gives other bytes than before
RENDERING: Final = 1
GAP_PX: Final = 4  # between squares on a sheet
_HATCH_PX: Final = 7
_DASH_PX: Final = 5
_MOSTLY: Final = 0.5  # of the cells inside a contour
_RIM_FROM_PX: Final = 150  # a smaller square has no room for rims
_NOISE: Final = {
    "alone": (214, 138),
    "difference": (214, 138),
    "overlay": (None, 170),
}  # grey of ground and lines
_RIM: Final = (30, 30, 30, 255)
_LINE: Final = (255, 255, 255, 255)


def lightness(film: bytes, side: int) -> Floats:
    """Read a film's PNG at `side` pixels -> lightness (side, side) from 0 to 1; OSError where it is none."""
    with Image.open(io.BytesIO(film)) as opened:
        grey = opened.convert("L").resize((side, side), Image.Resampling.BILINEAR)
    return np.asarray(grey, np.float64) / 255


def film_picture(film: bytes, side: int) -> npt.NDArray[np.uint8]:
    """Return the dimmed film (side, side), grey, as it lies under every overlay."""
    return colours.dimmed(lightness(film, side))


def layer(style: Style, side: int, cells: Cells, *, single: bool = False, under: bool = False) -> Layer:
    """Draw the cells on a square of `side` pixels -> (side, side, 4); only an overlay lets the film through.

    A mean map is hatched where nothing can be told from noise, everywhere without intervals, and has contours round
    what can mostly be told. A `single` image's map, of which nothing is concluded, has contours and no hatching.
    `under` leaves colours under the hatching, for who asks what is there.
    """
    paint = {"alone": colours.alone, "overlay": colours.over, "difference": colours.difference}[style]
    drawn = enlarged(paint(cells.values), side)
    if not single:
        ground, line = _NOISE[style]
        _hatch(drawn, enlarged(~cells.stands_out, side), ground, line, under=under)
    if style == "difference":
        _write_signs(drawn, cells)
    else:
        _write_contours(drawn, cells, single=single)
    return drawn


def overlaid(film: npt.NDArray[np.uint8], above: Layer) -> Layer:
    """Lay a layer over a dimmed film of its size, as a browser does."""
    opacity = above[..., 3:].astype(np.float64) / 255
    mixed = film[..., None] * (1 - opacity) + above[..., :3] * opacity
    return np.dstack([(mixed + 0.5).astype(np.uint8), np.full(film.shape, 255, np.uint8)])


def sheet(layers: Sequence[Layer | None], side: int, columns: int) -> Layer:
    """Put squares of one size in rows of `columns`; between them, and where there is none, nothing is drawn."""
    right, bottom = (k + side for k in corner_of(len(layers) - 1, side, columns))
    width = right if len(layers) <= columns else corner_of(columns - 1, side, columns)[0] + side
    drawn = np.zeros((bottom, width, 4), np.uint8)
    for index, one in enumerate(layers):
        if one is not None:
            left, top = corner_of(index, side, columns)
            drawn[top : top + side, left : left + side] = one
    return drawn


def corner_of(index: int, side: int, columns: int) -> tuple[int, int]:
    """Return left and top of one square on a sheet, in pixels."""
    row, column = divmod(index, columns)
    return column * (side + GAP_PX), row * (side + GAP_PX)


def png(picture: npt.NDArray[np.uint8]) -> bytes:
    """Write grey (H, W) or RGBA (H, W, 4); with a palette where 256 colours do, which keeps every colour exactly."""
    image, options = Image.fromarray(picture), {}
    if picture.ndim == 3:
        used, index = np.unique(np.ascontiguousarray(picture).view(np.uint32)[..., 0], return_inverse=True)
        if used.size <= 256:
            palette = used.view(np.uint8).reshape(-1, 4)
            image = Image.fromarray(index.reshape(picture.shape[:2]).astype(np.uint8)).convert("P")
            image.putpalette(palette[:, :3].tobytes())
            options = {"transparency": palette[:, 3].tobytes()}
    out = io.BytesIO()
    image.save(out, format="PNG", optimize=True, **options)
    return out.getvalue()


def _hatch(drawn: Layer, noise: Bools, ground: int | None, line: int, *, under: bool) -> None:
    """Grey, with diagonal lines; without a ground, the film shows between the lines."""
    side = noise.shape[0]
    stripes = np.add.outer(np.arange(side), np.arange(side)) % _HATCH_PX < (1 if under else 2)
    if not under:
        drawn[noise] = (0, 0, 0, 0) if ground is None else (ground, ground, ground, 255)
    drawn[noise & stripes] = (line, line, line, 255)


def _write_contours(drawn: Layer, cells: Cells, *, single: bool) -> None:
    """Draw light lines with a dark rim along cells' edges: half the energy (solid) and 80 percent (dashed)."""
    side = drawn.shape[0]
    for share, dashed in zip(CONTOURS, (False, True), strict=True):
        inside = holding(cells.values, share)
        if inside is None or not (single or cells.stands_out[inside].mean() >= _MOSTLY):
            continue  # a line round noise would give it a shape
        line = _edge(enlarged(inside, side))
        if dashed:
            line &= np.add.outer(np.arange(side), np.arange(side)) // _DASH_PX % 2 == 0
        if side >= _RIM_FROM_PX:
            drawn[_grown(line) & ~line] = _RIM
        drawn[line] = _LINE


def _write_signs(drawn: Layer, cells: Cells) -> None:
    """Mark cells that differ by a plus or a minus: blue and orange are one grey in print."""
    side, (rows, columns) = drawn.shape[0], cells.values.shape
    arm = max(2, side // max(rows, columns) // 6)
    for row, column in np.argwhere(cells.stands_out):
        y, x = (int((k + 0.5) * side / count) for k, count in ((row, rows), (column, columns)))
        drawn[y : y + 2, x - arm : x + arm + 2] = _RIM
        if cells.values[row, column] > cells.expected:
            drawn[y - arm : y + arm + 2, x : x + 2] = _RIM


def _edge(inside: Bools) -> Bools:
    """Pixels inside that touch an outside pixel; the picture's own border is an edge, too."""
    padded = np.pad(inside, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def _grown(line: Bools) -> Bools:
    """Return a line with its direct neighbours."""
    padded = np.pad(line, 1)
    grown: Bools = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:] | line
    return grown
