"""Which values does a DICOM file store? A checked header with pixel data comes in, whole numbers (H, W) go out.

The header says which bits of each sample count (BitsStored up to HighBit) and whether they have a sign; what stands in
the other bits is nothing, an overlay that the header names, or a contradiction, which is refused. Sources: DICOM PS3.5
8.1.1 and annex D, PS3.3 C.7.6.3.1, C.9.2.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

from shared.data.dicom.limits import FRAME_READERS, only_frame
from shared.data.dicom.syntaxes import JPEG, JPEG_2000, JPEG_LS, is_twelve_bit_jpeg
from shared.data.image_problems import image_error
from shared.data.pictures.frame_codecs import decode_jpeg_2000_frame, decode_jpeg_frame, decode_jpeg_ls_frame

Stored = npt.NDArray[Any]
OVERLAYS = range(0x6000, 0x6020, 2)  # groups
OVERLAY_BITS_ALLOCATED, OVERLAY_BIT_POSITION = 0x0100, 0x0102
OVERLAY_TAGS = [
    group << 16 | element for group in OVERLAYS for element in (OVERLAY_BITS_ALLOCATED, OVERLAY_BIT_POSITION)
]
DECODERS = {
    **dict.fromkeys(JPEG, decode_jpeg_frame),
    **dict.fromkeys(JPEG_LS, decode_jpeg_ls_frame),
    **dict.fromkeys(JPEG_2000, decode_jpeg_2000_frame),
}


def stored_values(dataset: Dataset) -> Stored:
    """Decode the one frame of a header that `check_dicom_pixels` let through.

    Errors: `ImageError` image_bits; anything else for pixel data that is damaged.
    """
    syntax, bits = UID(dataset.file_meta.TransferSyntaxUID), int(dataset.BitsStored)
    signed = bool(dataset.PixelRepresentation)
    high = dataset.get("HighBit")
    low = bits - 1 if high is None else int(high)
    low -= bits - 1
    if syntax not in DECODERS or is_twelve_bit_jpeg(syntax, bits):
        allocated = int(dataset.BitsAllocated)
        if low < 0 or low + bits > allocated:
            raise image_error("image_bits")
        whole_words: dict[str, Any] = {"bits_stored": allocated, "pixel_representation": 0}
        coded = get_decoder(syntax).as_array(dataset, index=0, raw=True, **whole_words)[0]
        return _counting_bits(coded, bits, low, signed=signed, overlays=_overlays(dataset))
    if low != 0:  # a codestream holds values, not bits in a word
        raise image_error("image_bits")
    frame = only_frame(dataset)
    found = FRAME_READERS[syntax](frame)
    coded = DECODERS[syntax](frame, found)
    if coded.shape != (int(dataset.Rows), int(dataset.Columns)):
        raise image_error("image_header")
    words = coded.view(f"u{coded.itemsize}")
    if found.bits < 8 * words.itemsize:
        words = words & words.dtype.type((1 << found.bits) - 1)
        if signed:
            words = _signed(words, found.bits).view(words.dtype)
    return _counting_bits(words, bits, 0, signed=signed, overlays=0)


def in_stored_values(value: int, dataset: Dataset) -> int:
    """Return what a tag says of stored values, with the sign that these have: its VR may be US for signed values.

    DICOM PS3.5 A: "US or SS" is chosen by PixelRepresentation, and files choose it wrongly.
    """
    value &= 0xFFFF
    if not dataset.PixelRepresentation:
        return value
    bits = int(dataset.BitsStored)
    if value >= 1 << 15:
        return value - (1 << 16)
    return value - (1 << bits) if 1 << (bits - 1) <= value < 1 << bits else value


def _counting_bits(words: Stored, bits: int, low: int, *, signed: bool, overlays: int) -> Stored:
    """Return the values in `bits` bits from `low` up of unsigned words (H, W)."""
    width = 8 * words.itemsize
    if bits > width:
        return _signed(words, width) if signed else words
    mask = ((1 << bits) - 1) << low
    if bits < width:
        others = int(np.bitwise_or.reduce(words, axis=None)) & ~mask & ~overlays
        if others and not (signed and low == 0 and _is_extended(words, bits)):
            raise image_error("image_bits")
        words = (words & words.dtype.type(mask)) >> words.dtype.type(low)
    return _signed(words, bits) if signed else words


def _is_extended(words: Stored, bits: int) -> bool:
    """Say whether the bits above are those of the sign, or none, for each value."""
    above = words >> words.dtype.type(bits)
    ones = (1 << (8 * words.itemsize - bits)) - 1
    negative = (words >> words.dtype.type(bits - 1) & words.dtype.type(1)).astype(bool)
    return bool(((above == 0) | (negative & (above == ones))).all())


def _signed(words: Stored, bits: int) -> Stored:
    unused = 8 * words.itemsize - bits
    signed: Stored = (words << words.dtype.type(unused)).view(f"i{words.itemsize}") >> unused
    return signed


def _overlays(dataset: Dataset) -> int:
    """Return the bits of a sample in which the header says that an overlay stands."""
    found = 0
    for group in OVERLAYS:
        allocated = dataset.get((group, OVERLAY_BITS_ALLOCATED))
        position = dataset.get((group, OVERLAY_BIT_POSITION))
        if allocated is not None and position is not None and int(allocated.value or 0) > 1:
            found |= 1 << int(position.value or 0)
    return found
