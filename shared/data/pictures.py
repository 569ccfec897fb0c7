"""One file of Pillow's kinds as a picture: a path comes in, pixels of at most 8 bits a channel go out."""

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from shared.data.codestream import check_scans
from shared.data.image_problems import ImageError
from shared.data.limits import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    MAX_SCANS,
    MAX_SIDE_PX,
    TooLargeError,
    check_file,
    check_size,
)

# What Pillow and its codecs raise on damaged files; anything else is our own mistake.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
DEEP = ("I", "F")  # Pillow's modes of more than 8 bits begin so: I;16, I;16B, I (32 bits), F (floating point)
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # by content; others of Pillow's decode before their size is known
TIFF_BITS, TIFF_TILE_WIDTH, TIFF_TILE_LENGTH = 258, 322, 323


def decoded(path: Path, what: Literal["image", "mask"], field: str) -> Image.Image:
    """Open and decode a picture in the mode it is stored in, deep grey scaled to 8 bits; `field` names it in errors.

    Errors: `ImageError` of a kind that begins with `what`: missing, unreadable or too large.
    """
    try:
        check_file(path)
        with Image.open(path, formats=FORMATS) as image:
            _check_picture(path, image)
            image.load()
        return _eight_bit(np.asarray(image)) if image.mode[:1] in DEEP else image
    except FileNotFoundError as error:
        raise ImageError(
            f"{what}_missing", f"{field} {path} does not exist; restore it or remove it from the data"
        ) from error
    except (TooLargeError, Image.DecompressionBombError):
        raise ImageError(
            f"{what}_too_large",
            f"{field} {path} is too large, allowed are {MAX_PIXELS:,} pixels, {MAX_SIDE_PX:,} a "
            f"side, {MAX_FILE_BYTES >> 20} MiB and {MAX_SCANS} scans; save it smaller",
        ) from None
    except UNREADABLE as error:
        raise ImageError(
            f"{what}_unreadable",
            f"{field} {path} is no readable image, allowed is PNG, JPEG, BMP, TIFF or DICOM; replace it",
        ) from error


def _check_picture(path: Path, image: Image.Image) -> None:
    """Refuse a picture past the limits by its header (`TooLargeError`); of several only the first is decoded."""
    kept_bytes = 1 if image.mode in {"1", "L", "P"} else 2 if image.mode.startswith("I;16") else 4
    check_size(*image.size, kept_bytes)
    if isinstance(image, TiffImageFile):
        tags = image.tag_v2
        bits = tags.get(TIFF_BITS, (1,))
        stored_bytes = sum(bits if isinstance(bits, tuple) else (bits,)) / 8
        check_size(*image.size, stored_bytes)
        check_size(int(tags.get(TIFF_TILE_WIDTH, 0)), int(tags.get(TIFF_TILE_LENGTH, 0)), stored_bytes)
    if image.format in {"JPEG", "MPO"}:
        check_scans(path)


def _eight_bit(grey: npt.NDArray[np.integer[Any] | np.floating[Any]]) -> Image.Image:
    """Scale grey of 16 or 32 bits between its own darkest and brightest value; `ValueError` where one is not finite.

    Twelve bits in sixteen are common, and Pillow's own conversion cuts off at 255.
    """
    if not np.isfinite(grey).all():
        raise ValueError("a pixel is not finite")
    low, high = (np.float64(grey.min()), np.float64(grey.max())) if grey.size else (0.0, 0.0)
    height = high - low
    scaled = np.empty(grey.shape, np.uint8)
    for part, wide in zip(
        scaled, grey, strict=True
    ):  # a row at a time: in float64 all take eight bytes a pixel
        part[:] = (wide.astype(np.float64) - low) * (255 / height if height > 0 else 0)
    return Image.fromarray(scaled)


def _image(job: Mapping[str, str]) -> Image.Image:
    return _plain(decoded(Path(job["file"]), "image", job["field"]))


def _mask(job: Mapping[str, str]) -> Image.Image:
    return decoded(Path(job["file"]), "mask", job["field"]).convert("L")


def _plain(image: Image.Image) -> Image.Image:
    return image if image.mode in {"L", "RGB"} else image.convert("RGB")


def load_codecs() -> None:
    """Load what Pillow loads with the first picture."""
    Image.init()


OPENERS = {"image": _image, "mask": _mask}  # for shared/data/decoding_worker.py
