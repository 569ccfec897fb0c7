"""Does a DICOM file keep within limits? And does its header say what its compressed picture says.

Asked before pydicom and the codecs take memory: they inflate a deflated file whole, decode every frame that is there
and believe the codestream, not the header. Raises words of ours alone.
"""

import zlib
from pathlib import Path

from pydicom import Dataset
from pydicom.encaps import generate_frames
from pydicom.filereader import _read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
)

from shared.data.dicom.beginning import LENGTH, begins_as_dicom, has_known_syntax, has_preamble
from shared.data.dicom.syntaxes import JPEG, JPEG_2000, JPEG_LS
from shared.data.image_problems import image_error
from shared.data.pictures.codestream import read_jpeg, read_jpeg_2000
from shared.data.pictures.limits import MAX_DECODED_BYTES, TooLargeError, check_file, check_size

PART = 1 << 20  # bytes at a time
FRAME_READERS = {
    **dict.fromkeys(JPEG | JPEG_LS, read_jpeg),
    **dict.fromkeys(JPEG_2000, read_jpeg_2000),
}
BYTE_BITS = 8
RUN = 128  # the most that two bytes of RLE stand for


def check_dicom_file(path: Path) -> None:
    """Refuse a file of too many bytes, stored or inflated.

    Errors: `TooLargeError`; what pydicom and zlib raise for a file that is none of theirs.
    """
    check_file(path)
    with path.open("rb") as file:
        beginning = file.read(LENGTH)
        if not begins_as_dicom(beginning):
            raise ValueError("no DICOM")
        file.seek(LENGTH if has_preamble(beginning) else 0)
        if _read_file_meta_info(file).get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        inflater, num_bytes = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while not inflater.eof and (data := inflater.unconsumed_tail or file.read(PART)):
            num_bytes += len(inflater.decompress(data, PART))
            if num_bytes > MAX_DECODED_BYTES:
                raise TooLargeError


def check_dicom_size(dataset: Dataset) -> None:
    """Refuse a picture that the header says is too large; `TooLargeError`."""
    sample_bytes = int(dataset.get("BitsAllocated") or 0) / 8
    num_samples = int(dataset.get("SamplesPerPixel") or 1) * int(dataset.get("NumberOfFrames") or 1)
    check_size(int(dataset.get("Columns") or 0), int(dataset.get("Rows") or 0), sample_bytes * num_samples)


def check_dicom_pixels(dataset: Dataset) -> None:
    """Refuse pixel data of several frames, or with another size than the header's.

    Errors: `ImageError`, `TooLargeError`, ValueError for data that is none of its kind.
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    rows, columns, allocated = int(dataset.Rows), int(dataset.Columns), int(dataset.BitsAllocated)
    expected = rows * columns * allocated // 8
    if not syntax.is_encapsulated:
        if expected and len(dataset.PixelData) >= 2 * expected:
            raise image_error("image_frames")
        if not has_known_syntax(dataset) and len(dataset.PixelData) != expected + expected % 2:
            raise image_error("image_syntax")
        return
    frame = only_frame(dataset)
    if syntax == RLELossless:
        _check_runs(frame, expected)
    elif syntax in FRAME_READERS:
        found = FRAME_READERS[syntax](frame)
        said = (columns, rows, 1)
        if (found.width, found.height, found.samples) != said or found.bits > allocated:
            raise image_error("image_header")
        if found.bits <= BYTE_BITS < int(dataset.BitsStored):  # what its window is for is lost
            raise image_error("image_header")


def only_frame(dataset: Dataset) -> bytes:
    """Return the one compressed frame; `ImageError` where there are several."""
    table = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    offsets = table if all(table) else None
    frames = generate_frames(dataset.PixelData, number_of_frames=1, extended_offsets=offsets)
    first = next(frames)
    if next(frames, None) is not None:
        raise image_error("image_frames")
    return first


def _check_runs(frame: bytes, expected: int) -> None:
    """Refuse RLE that decodes to much more than the picture has; DICOM PS3.5 annex G, PackBits."""
    if len(frame) * RUN // 2 <= max(2 * expected, PART):
        return
    num_bytes, at = 0, 64  # after the header of segments
    while at < len(frame) and num_bytes <= 2 * expected + PART:
        code = frame[at]
        num_bytes += 0 if code == RUN else code + 1 if code < RUN else 257 - code
        at += 1 if code == RUN else code + 2 if code < RUN else 2
    if num_bytes > 2 * expected + PART:
        raise TooLargeError
