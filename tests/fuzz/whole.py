"""Whole small picture files of every syntax and format that is read: a folder comes in, named files go out.

Each carries planted identifiers where its format has room for words, so that a test can search what is said about it.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo
from pydicom import uid

from tests.dicom_files import PLANTED, dicom_file, picture

HEIGHT, WIDTH = 64, 80  # the JPEG 2000 encoder halves a picture five times
SYNTAXES = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless, uid.JPEGBaseline8Bit, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless,
    uid.JPEGLSNearLossless, uid.JPEG2000Lossless, uid.JPEG2000,
)  # fmt: skip
ONLY_8_BITS = {uid.JPEGBaseline8Bit}
WORDS = " ".join(PLANTED)


def whole_files(folder: Path) -> Iterator[Path]:
    """Write and yield one file of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    for syntax in SYNTAXES:
        for bits in (8, 12):
            if bits == 8 or syntax not in ONLY_8_BITS:
                stored = picture(height=HEIGHT, width=WIDTH, top=2**bits - 1)
                stored = stored.astype(np.uint8) if bits == 8 else stored
                name = f"dicom-{uid.UID(syntax).name}-{bits}.dcm".replace(" ", "_").replace("/", "_")
                yield dicom_file(folder / name, stored, syntax=syntax, BitsStored=bits)
    for name, save in PICTURES.items():
        buffer = io.BytesIO()
        save(buffer)
        path = folder / name
        path.write_bytes(buffer.getvalue())
        yield path


def _grey(top: int = 255) -> Image.Image:
    return Image.fromarray(
        picture(height=HEIGHT, width=WIDTH, top=top).astype(np.uint8 if top < 256 else np.uint16)
    )


def _colour() -> Image.Image:
    parts = [_grey(top) for top in (255, 200, 90)]
    return Image.merge("RGB", parts)


def _png(image: Image.Image) -> Callable[[io.BytesIO], None]:
    told = PngInfo()
    told.add_text("Comment", WORDS)
    return lambda file: image.save(file, "PNG", pnginfo=told)


def _jpeg(image: Image.Image, **options: object) -> Callable[[io.BytesIO], None]:
    return lambda file: image.save(file, "JPEG", comment=WORDS.encode(), **options)


def _tiff(image: Image.Image, **options: object) -> Callable[[io.BytesIO], None]:
    told = TiffImagePlugin.ImageFileDirectory_v2()
    told[270] = WORDS
    return lambda file: image.save(file, "TIFF", tiffinfo=told, **options)


PICTURES: dict[str, Callable[[io.BytesIO], None]] = {
    "grey.png": _png(_grey()),
    "grey16.png": _png(_grey(4095)),
    "colour.png": _png(_colour()),
    "palette.png": _png(_colour().quantize(16)),
    "alpha.png": _png(_colour().convert("RGBA")),
    "bilevel.png": _png(_grey().convert("1")),
    "grey.jpg": _jpeg(_grey()),
    "colour.jpg": _jpeg(_colour(), quality=90),
    "progressive.jpg": _jpeg(_colour(), progressive=True),
    "cmyk.jpg": _jpeg(_colour().convert("CMYK")),
    "restarts.jpg": _jpeg(_grey(), restart_marker_blocks=2),
    "grey.bmp": lambda file: _grey().save(file, "BMP"),
    "colour.bmp": lambda file: _colour().save(file, "BMP"),
    "grey.tif": _tiff(_grey()),
    "grey16.tif": _tiff(_grey(4095)),
    "colour.tif": _tiff(_colour()),
    **{
        f"{name}.tif": _tiff(_colour(), compression=name)
        for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")
    },
    **{f"{name}.tif": _tiff(_grey().convert("1"), compression=name) for name in ("group3", "group4")},
}
