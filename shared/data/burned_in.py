"""Is there writing in a picture? Grey pixels come in, a number of suspected lines of text comes out.

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
    side = max(grey.shape)
    if side > WORKING_SIDE:
        width, height = (max(1, round(n * WORKING_SIDE / side)) for n in grey.shape[::-1])
        grey = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BOX))
    size = max(3, round(STROKE * max(grey.shape)))
    bright = ndimage.white_tophat(grey, size=size) > CONTRAST
    dark = ndimage.black_tophat(grey, size=size) > CONTRAST
    return sum(_num_lines(ink) for ink in (bright, dark))


def _num_lines(ink: Bools) -> int:
    gap = max(3, round(GAP * max(ink.shape)))
    joined = ndimage.binary_closing(np.pad(ink, gap), np.ones((1, gap), bool))[gap:-gap, gap:-gap]
    labels, _ = ndimage.label(joined, np.ones((3, 3)))
    most = MAX_HEIGHT * max(ink.shape)
    boxes = (box for box in ndimage.find_objects(labels) if box[0].stop - box[0].start <= most)
    return sum(bool(joined[box].mean() >= BAND) and _is_line(ink[box]) for box in boxes)


def _is_line(ink: Bools) -> bool:
    """Say whether the strokes in one box (h, w) stand like letters."""
    height, width = ink.shape
    if height < MIN_HEIGHT_PX or width < MIN_WIDTH * height or not FILL[0] < ink.mean() < FILL[1]:
        return False
    begins = np.diff(ink.astype(np.int8), axis=1, prepend=0) == 1
    strokes = float(np.median(begins.sum(axis=1)[height // 5 : height - height // 5]))
    return bool(strokes >= max(MIN_STROKES, STROKES_PER_HEIGHT * width / height))
