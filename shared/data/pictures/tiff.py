"""One TIFF: a path comes in, checked limits and pixels go out, for the kinds that Pillow shows wrongly or not at all.

Those are samples of more than 8 bits, signed or floating ones, planes, alpha and other extra samples. Source: TIFF 6.0.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tifffile import COMPRESSION, PHOTOMETRIC, SAMPLEFORMAT, TiffFile, TiffPage

from shared.data.image_problems import RefusedError
from shared.data.pictures.limits import check_size

Pixels = npt.NDArray[Any]
BEGINNINGS = {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}
ORIENTATION = 274
PLAIN_PHOTOMETRICS = {0, 1, 2, 3, 5, 6}  # Pillow's, where samples are plain: grey, RGB, palette, inks, YCbCr
COMPRESSIONS = {
    COMPRESSION.NONE, COMPRESSION.LZW, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.DEFLATE, COMPRESSION.PACKBITS,
}  # fmt: skip
CHANNELS = {PHOTOMETRIC.MINISWHITE: 1, PHOTOMETRIC.MINISBLACK: 1, PHOTOMETRIC.RGB: 3}
SEPARATE = 2  # of planes
PAGES_LOOKED_AT = 8  # a file of more has more than one picture


def is_tiff(path: Path) -> bool:
    """Say whether a file begins as TIFF or BigTIFF."""
    with path.open("rb") as file:
        return file.read(4) in BEGINNINGS


def check_tiff(path: Path) -> tuple[bool, int]:
    """Refuse a TIFF of several pages or past the limits, by its directories; small copies of a page count for nothing.

    Returns whether Pillow shows its kind as it is meant, which is one or three samples of 1 or 8 bits without a sign;
    and its orientation.
    Errors: `TooLargeError`, `RefusedError`; others for what is no TIFF.
    """
    with TiffFile(path) as file:
        pages = [page for _, page in zip(range(PAGES_LOOKED_AT), file.pages, strict=False)]
        full = [page for page in pages if isinstance(page, TiffPage) and not page.is_reduced]
        if len(full) != 1 or len(pages) == PAGES_LOOKED_AT or full[0] is not pages[0]:
            raise RefusedError("frames")
        page = full[0]
        stored_bytes = max(page.bitspersample, 1) * max(page.samplesperpixel, 1) / 8
        check_size(page.imagewidth, page.imagelength, stored_bytes)
        check_size(page.tilewidth, page.tilelength, stored_bytes)
        plain = (
            page.bitspersample in {1, 8}
            and page.sampleformat == SAMPLEFORMAT.UINT
            and page.photometric in PLAIN_PHOTOMETRICS
            and (page.planarconfig != SEPARATE or page.samplesperpixel == 1)
            and not page.extrasamples
        )
        orientation = page.tags.get(ORIENTATION)
        return plain, 1 if orientation is None else int(orientation.value)


def read_tiff(path: Path) -> Pixels:
    """Return the pixels (H, W[, channels]) of a checked file, black where light is least; ValueError for other kinds.

    Signed samples become unsigned ones in the same order; an extra sample counts as alpha.
    """
    with TiffFile(path) as file:
        page = file.pages.first
        if page.compression not in COMPRESSIONS or page.photometric not in CHANNELS:
            raise ValueError("a kind of TIFF that is not read here")
        size, samples = (page.imagelength, page.imagewidth), page.samplesperpixel
        if page.imagedepth != 1 or not 0 <= samples - CHANNELS[PHOTOMETRIC(page.photometric)] <= 1:
            raise ValueError("other samples")
        pixels = np.asarray(page.asarray(maxworkers=1))
        if samples > 1 and page.planarconfig == SEPARATE:
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.shape != (size if samples == 1 else (*size, samples)):
            raise ValueError("another shape")
        if pixels.dtype.kind == "i":
            pixels = pixels.view(f"u{pixels.itemsize}") ^ (1 << (8 * pixels.itemsize - 1))
        if page.photometric != PHOTOMETRIC.MINISWHITE:
            return pixels
        grey = pixels if samples == 1 else pixels[..., 0]
        grey = -grey if grey.dtype.kind == "f" else np.iinfo(grey.dtype).max - grey
        return grey if samples == 1 else np.dstack([grey, pixels[..., 1]])
