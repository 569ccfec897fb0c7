"""One file of the usual kinds as a picture: a path comes in, pixels of 8 bits a channel go out, upright.

Of several pictures in a file none is taken, and nothing is shown through transparency: both are refused. More than 8
bits are scaled by one rule for grey and colour (`shared/data/pictures/contrast.py`).
"""

import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile
from tifffile import TiffFileError

from shared.data.image_problems import ImageError, RefusedError, advice_on
from shared.data.pictures.alpha import is_opaque
from shared.data.pictures.codestream import check_scans
from shared.data.pictures.contrast import eight_bit
from shared.data.pictures.frame_codecs import decode_jpeg, load_frame_codecs
from shared.data.pictures.limits import (
    MAX_FILE_BYTES,
    MAX_PIXELS,
    MAX_SCANS,
    MAX_SIDE_PX,
    TooLargeError,
    check_file,
    check_size,
)
from shared.data.pictures.masks import as_mask
from shared.data.pictures.tiff import check_tiff, is_tiff, read_tiff

What = Literal["image", "mask"]
Pixels = npt.NDArray[Any]
# What codecs raise on damaged files; anything else is our own mistake.
UNREADABLE = (
    OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, OverflowError, ZeroDivisionError,
    AssertionError, NotImplementedError, MemoryError, RuntimeError, struct.error, zlib.error, TiffFileError,
    Image.DecompressionBombError,
)  # fmt: skip
FORMATS = ("PNG", "JPEG", "BMP", "TIFF")  # by content; others of Pillow's decode before their size is known
ORIENTATION = 0x0112  # of EXIF and TIFF
JPEG_SPACES: dict[str, Literal["GRAY", "RGB", "CMYK"]] = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
DEPTH_AT, DEEP_PNG = 24, 16  # where a PNG says its bits a channel; of which Pillow keeps 8, but for grey
# How a picture of each orientation is turned upright, as rows and columns (TIFF 6.0 tag 274).
TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p.swapaxes(0, 1)[:, ::-1],
    7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
    8: lambda p: p.swapaxes(0, 1)[::-1],
}


def decoded(path: Path, what: What, field: str) -> Image.Image:
    """Open, decode and turn upright: an image as grey or RGB, a mask as grey of 0 and 255; `field` names it in errors.

    Errors: `ImageError` of a kind that begins with `what`: missing, unreadable, too large, frames, alpha; mask_values.
    """
    try:
        check_file(path)
        pixels = _pixels(path)
        if what == "mask":
            mask = as_mask(pixels)
            if mask is None:
                raise RefusedError("values")
            return Image.fromarray(mask)
        if not is_opaque(pixels):
            raise RefusedError("alpha")
        return Image.fromarray(eight_bit(_without_alpha(pixels)))
    except RefusedError as error:
        kind = f"{what}_{error}"
        raise ImageError(kind, f"{field} {path} cannot be used: {advice_on(kind)}") from None
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


def _pixels(path: Path) -> Pixels:
    """Decode to (H, W) or (H, W, channels) of any depth, upright; the last of 2 or 4 channels is alpha."""
    if is_tiff(path):
        plain, orientation = check_tiff(path)
        if not plain or orientation != 1:  # Pillow 13 turns a TIFF on its side back
            return _upright(read_tiff(path), orientation)
    with Image.open(path, formats=FORMATS) as image:
        _check_picture(path, image)
        if isinstance(image, TiffImageFile):
            return _eight_bits_of(image)
        orientation = int(image.getexif().get(ORIENTATION, 1))
        if image.format == "JPEG":
            return _upright(_jpeg(path, image), orientation)
        if image.format == "PNG":
            data = path.read_bytes()
            if data[DEPTH_AT] == DEEP_PNG and image.mode not in {"I;16", "I"}:
                return _upright(np.asarray(imagecodecs.png_decode(data)), orientation)
        return _upright(_eight_bits_of(image), orientation)


def _jpeg(path: Path, image: Image.Image) -> Pixels:
    """Decode with warnings as errors; four inks are then mixed by Pillow."""
    pixels = decode_jpeg(path.read_bytes(), JPEG_SPACES[image.mode])
    if image.mode == "CMYK":
        return np.asarray(image.convert("RGB"))
    return pixels[..., 0] if pixels.shape[2] == 1 else pixels


def _eight_bits_of(image: Image.Image) -> Pixels:
    """Decode what Pillow reads rightly: palettes and transparency resolved, grey of more bits as it is stored."""
    image.load()
    transparent = "transparency" in image.info
    if image.mode[:1] in {"I", "F"} or (image.mode in {"L", "RGB"} and not transparent):
        return np.asarray(image)
    if transparent or image.mode in {"LA", "PA", "RGBA"}:
        return np.asarray(image.convert("LA" if image.mode in {"L", "LA", "1"} else "RGBA"))
    if image.mode == "P":
        return np.asarray(image.convert("RGBA" if image.palette and image.palette.mode == "RGBA" else "RGB"))
    return np.asarray(image.convert("L" if image.mode == "1" else "RGB"))


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    turn = TURNS.get(orientation)
    return pixels if turn is None else np.ascontiguousarray(turn(pixels))


def _without_alpha(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2 or pixels.shape[2] == 3:
        return pixels
    return pixels[..., 0] if pixels.shape[2] == 2 else pixels[..., :3]


def _check_picture(path: Path, image: Image.Image) -> None:
    """Refuse a picture past the limits by its header (`TooLargeError`), and several in one file (`RefusedError`)."""
    kept_bytes = 1 if image.mode in {"1", "L", "P"} else 2 if image.mode.startswith("I;16") else 4
    check_size(*image.size, kept_bytes)
    if image.format in {"JPEG", "MPO"}:
        check_scans(path)
    if not isinstance(image, TiffImageFile) and getattr(image, "n_frames", 1) != 1:
        raise RefusedError("frames")


def _image(job: Mapping[str, str]) -> Image.Image:
    return decoded(Path(job["file"]), "image", job["field"])


def _mask(job: Mapping[str, str]) -> Image.Image:
    return decoded(Path(job["file"]), "mask", job["field"])


def load_codecs() -> None:
    """Load what is otherwise loaded with the first picture."""
    Image.init()
    load_frame_codecs()


OPENERS = {"image": _image, "mask": _mask}  # for shared/data/decoding/worker.py
