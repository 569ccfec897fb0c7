"""Is there writing in a picture? Grey pixels come in, the places of suspected lines of text come out.

A burned-in name is bright or dark thin strokes side by side in one line. Strokes are what a top-hat leaves over
(structures thinner than a fiftieth of the picture, well off their surroundings); strokes closer than the height of
a letter are joined to a line; a line as wide as four letters, with as many strokes as letters have, is a suspect.
Single letters and short side markers (L, R, AP) are no suspects. No reading, no learning: it misses writing that is
faint, large, handwritten or upright on its side, and takes some leads and labels for writing.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

Grey = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Box = tuple[int, int, int, int]  # left, top, right, bottom
WORKING_SIDE = 1024  # larger pictures are reduced to it: letters of 1 % of a film keep 10 pixels
STROKE = 0.02  # strokes are thinner than this share of the longer side
GAP = 0.02  # strokes nearer than this, side by side, are one line
CONTRAST = 55  # grey levels between a stroke and its surroundings
MIN_HEIGHT_PX, MAX_HEIGHT = 5, 0.06  # of a line
MIN_WIDTH = 3.0  # of a line, in its heights: four letters
MIN_STROKES = 4.0  # met on the way along a line
FILL = (0.15, 0.75)  # share of a line's box that is stroke
BAND = 0.45  # share of a line's box that is covered once strokes are joined; crossing leads cover less
STROKES_PER_HEIGHT = 0.75  # strokes met on the way along a line, over its width in heights


def num_suspects(grey: Grey) -> int:
    """Count suspected lines of writing in a picture (H, W) uint8; 0 for a picture without."""
    return len(suspects(grey))


def suspects(grey: Grey) -> list[Box]:
    """Return the box of each suspected line of writing in a picture (H, W) uint8, in its pixels."""
    height, width = grey.shape
    scale = max(1.0, max(grey.shape) / WORKING_SIDE)
    if scale > 1:
        small = (max(1, round(width / scale)), max(1, round(height / scale)))
        grey = np.asarray(Image.fromarray(grey).resize(small, Image.Resampling.BOX))
    size = max(3, round(STROKE * max(grey.shape)))
    bright = ndimage.white_tophat(grey, size=size) > CONTRAST
    dark = ndimage.black_tophat(grey, size=size) > CONTRAST
    return [
        (
            round(across.start * scale),
            round(down.start * scale),
            min(width, round(across.stop * scale)),
            min(height, round(down.stop * scale)),
        )
        for ink in (bright, dark)
        for down, across in _lines(ink)
    ]


def _lines(ink: Bools) -> list[tuple[slice, slice]]:
    gap = max(3, round(GAP * max(ink.shape)))
    joined = ndimage.binary_closing(np.pad(ink, gap), np.ones((1, gap), bool))[gap:-gap, gap:-gap]
    labels, _ = ndimage.label(joined, np.ones((3, 3)))
    most = MAX_HEIGHT * max(ink.shape)
    boxes = (box for box in ndimage.find_objects(labels) if box[0].stop - box[0].start <= most)
    return [box for box in boxes if joined[box].mean() >= BAND and _is_line(ink[box])]


def _is_line(ink: Bools) -> bool:
    """Say whether the strokes in one box (h, w) stand like letters."""
    height, width = ink.shape
    if height < MIN_HEIGHT_PX or width < MIN_WIDTH * height or not FILL[0] < ink.mean() < FILL[1]:
        return False
    begins = np.diff(ink.astype(np.int8), axis=1, prepend=0) == 1
    strokes = float(np.median(begins.sum(axis=1)[height // 5 : height - height // 5]))
    return bool(strokes >= max(MIN_STROKES, STROKES_PER_HEIGHT * width / height))
