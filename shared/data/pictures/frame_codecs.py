"""One compressed frame comes in, its values (H, W) as they are coded go out; a codec's doubts are refusals.

Most codecs fill up a damaged stream and only warn, which would show half a picture. Baseline JPEG is therefore decoded
by libjpeg-turbo with its warnings as errors, lossless JPEG is counted again, JPEG 2000 must have all its tiles, and
CharLS checks its streams itself. Flipped bits that decode to values all the same cannot be told in JPEG 2000 and
lossy JPEG, which hold no check sum.
"""

import re
from typing import Any, Literal

import imagecodecs
import numpy as np
import numpy.typing as npt
import simplejpeg

from shared.data.pictures.codestream import Frame, check_tiles
from shared.data.pictures.lossless_jpeg import check_lossless

Coded = npt.NDArray[Any]
HARMLESS = re.compile(
    r"Corrupt JPEG data: [12] extraneous bytes before marker 0xd9|Invalid SOS parameters for sequential JPEG"
)


def decode_jpeg_frame(frame: bytes, found: Frame) -> Coded:
    """Decode grey JPEG of 8 bits, or lossless JPEG of 2 to 16; whatever is wrong raises."""
    if found.bits == 8:
        pixels = decode_jpeg(frame, "GRAY")[..., 0]
    elif found.lossless:
        pixels = imagecodecs.jpeg8_decode(frame)
    else:
        raise ValueError("no codec")
    if found.lossless:
        check_lossless(frame, pixels)
    return pixels


def decode_jpeg_ls_frame(frame: bytes, _found: Frame) -> Coded:
    """Decode grey JPEG-LS."""
    return np.asarray(imagecodecs.jpegls_decode(frame))


def decode_jpeg_2000_frame(frame: bytes, _found: Frame) -> Coded:
    """Decode grey JPEG 2000, with high throughput or without."""
    check_tiles(frame)
    return np.asarray(imagecodecs.jpeg2k_decode(frame))


def decode_jpeg(data: bytes, space: Literal["GRAY", "RGB", "CMYK"]) -> npt.NDArray[np.uint8]:
    """Decode JPEG of 8 bits to (H, W, channels); ValueError for a warning of libjpeg-turbo, but for harmless ones."""
    try:
        return np.asarray(simplejpeg.decode_jpeg(data, space, strict=True))
    except ValueError as error:
        if not HARMLESS.fullmatch(str(error)):
            raise
    return np.asarray(simplejpeg.decode_jpeg(data, space, strict=False))


def load_frame_codecs() -> None:
    """Load codecs that come with their first use."""
    for name in ("jpeg8", "jpegls", "jpeg2k", "png"):
        getattr(imagecodecs, f"{name}_decode")
