"""What does a compressed picture say of itself? JPEG, JPEG-LS or JPEG 2000 come in, their frame header goes out.

Read before a codec is: codecs take the memory that this header asks for, whatever the file around it says. Sources:
ITU-T T.81 annex B, T.87 annex C, T.800 annex A.
"""

import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from shared.data.limits import MAX_SCANS, TooLargeError

Bytes = bytes | mmap.mmap
MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # in coded data a byte of 255 has another byte after it
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
SCAN, END, START = 0xDA, 0xD9, 0xD8
JPEG_2000 = b"\xff\x4f\xff\x51"


@dataclass(frozen=True)
class Frame:
    """Size of a compressed picture; the largest where its frame headers differ."""

    width: int
    height: int
    samples: int
    bits: int
    num_scans: int


def read_jpeg(data: Bytes) -> Frame:
    """Read all frame headers of a JPEG or JPEG-LS up to its end and count its scans.

    Errors: ValueError for data without a frame header; `TooLargeError` past `MAX_SCANS`.
    """
    width = height = samples = bits = num_scans = 0
    at = 0
    while found := MARKER.search(data, at):
        at, code = found.end(), data[found.end() - 1]
        if code == END:
            break
        if code == START:
            continue
        if code in FRAMES:
            one = data[at + 2 : at + 8]
            if len(one) < 6:
                break
            precision, rows, columns, parts = struct.unpack(">BHHB", one)
            width, height = max(width, columns), max(height, rows)
            samples, bits = max(samples, parts), max(bits, precision)
        num_scans += code == SCAN
        if num_scans > MAX_SCANS:
            raise TooLargeError
        at += int.from_bytes(data[at : at + 2], "big")
    if not width:
        raise ValueError("no frame header")
    return Frame(width, height, samples, bits, num_scans)


def read_jpeg_2000(data: bytes) -> Frame:
    """Read the SIZ segment of a JPEG 2000 codestream, wrapped in JP2 or not.

    Errors: ValueError for data without one.
    """
    at = data.find(JPEG_2000)
    header = data[at + 8 : at + 42]
    if at < 0 or len(header) < 34:
        raise ValueError("no size segment")
    right, lower, left, upper, *_tiles, samples = struct.unpack(">8LH", header)
    depths = data[at + 42 : at + 42 + 3 * samples : 3]
    bits = max(((depth & 0x7F) + 1 for depth in depths), default=0)
    return Frame(right - left, lower - upper, samples, bits, 1)


def check_scans(path: Path) -> None:
    """Refuse a JPEG file of too many scans."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        read_jpeg(data)
