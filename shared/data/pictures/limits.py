"""How large may a picture be? Asked before anything is decoded, and the same for every format.

A file of some kilobytes can decode to gigabytes, and whoever's file it is would then decide whether a site answers.
Past a limit a picture is `image_too_large` (a mask `mask_too_large`), and its patient contributes nothing. A decoder
that hangs, or asks for memory, inside these limits is stopped by those of its process (`shared/data/decoding/pool.py`).
"""

import stat
from pathlib import Path

# A film of 35 x 43 cm at 50 micrometres has 60 million pixels, one of a breast of 24 x 30 cm 29 million, the largest
# fundus cameras give 45 million, a stitched film of the whole leg or spine 40 million.
MAX_PIXELS = 1 << 26
MAX_SIDE_PX = 1 << 15  # the same long film has 20,000 rows; some decoders work with multiples of a row
MAX_DECODED_BYTES = 4 * MAX_PIXELS  # Pillow keeps four bytes a pixel in colour; grey of 16 bits takes two
MAX_FILE_BYTES = MAX_DECODED_BYTES  # no format here stores more than it decodes to, but for a header
MAX_SCANS = 32  # of a JPEG, each of which costs a pass over all pixels; encoders make about 10
# An .npz holds the pictures of many patients in one array, and all of it is decompressed for any row.
MAX_ARRAY_BYTES = 1 << 30
MAX_ARRAY_RATIO = 20  # decompressed over stored, past MAX_DECODED_BYTES; pictures reach about 3
MAX_ARRAYS_FILE_BYTES = 1 << 32


class TooLargeError(Exception):
    """A picture, mask or array is past a limit; caught where its kind of file is known."""


def check_file(path: Path, most: int = MAX_FILE_BYTES) -> None:
    """Refuse a file of too many bytes, and what is no file at all: a pipe would be waited for, a device never ends.

    Errors: `TooLargeError`; OSError for a file that is missing or none.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("not a regular file")
    if found.st_size > most:
        raise TooLargeError


def check_size(width: int, height: int, bytes_per_pixel: float) -> None:
    """Refuse a picture of too many pixels, rows, columns or decoded bytes, by what its header says."""
    pixels = max(width, 1) * max(height, 1)
    if (
        pixels > MAX_PIXELS
        or max(width, height) > MAX_SIDE_PX
        or pixels * bytes_per_pixel > MAX_DECODED_BYTES
    ):
        raise TooLargeError


def check_array(num_bytes: int, stored_bytes: int) -> None:
    """Refuse an array of too many bytes, by its header and by what it takes in its file."""
    most = max(MAX_DECODED_BYTES, min(MAX_ARRAY_BYTES, MAX_ARRAY_RATIO * stored_bytes))
    if num_bytes > most:
        raise TooLargeError
