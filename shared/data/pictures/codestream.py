"""What does a compressed picture say of itself? JPEG, JPEG-LS or JPEG 2000 come in, their frame header goes out.

Read before a codec is: codecs take the memory that this header asks for, whatever the file around it says. Sources:
ITU-T T.81 annex B, T.87 annex C, T.800 annex A.
"""

import mmap
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from shared.data.pictures.limits import MAX_SCANS, TooLargeError

Bytes = bytes | mmap.mmap
MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")  # in coded data a byte of 255 has another byte after it
FRAMES = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
LOSSLESS_FRAMES = {0xC3, 0xC7, 0xCB, 0xCF}
SCAN, END, START = 0xDA, 0xD9, 0xD8
JPEG_2000 = b"\xff\x4f\xff\x51"
TILE_HEADER_BYTES = 14
TILE_PART, CODESTREAM_END = b"\xff\x90", b"\xff\xd9"


@dataclass(frozen=True)
class Frame:
    """Size of a compressed picture; the largest where its frame headers differ."""

    width: int
    height: int
    samples: int
    bits: int
    num_scans: int
    lossless: bool = False  # of a JPEG: predicted value by value (T.81 annex H)


def read_jpeg(data: Bytes) -> Frame:
    """Read all frame headers of a JPEG or JPEG-LS up to its end and count its scans.

    Errors: ValueError for data without a frame header; `TooLargeError` past `MAX_SCANS`.
    """
    width = height = samples = bits = num_scans = 0
    lossless = False
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
            lossless |= code in LOSSLESS_FRAMES
        num_scans += code == SCAN
        if num_scans > MAX_SCANS:
            raise TooLargeError
        at += int.from_bytes(data[at : at + 2], "big")
    if not width:
        raise ValueError("no frame header")
    return Frame(width, height, samples, bits, num_scans, lossless)


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


def check_tiles(data: bytes) -> None:
    """Refuse a JPEG 2000 codestream that ends early, or has fewer tiles than its header says (T.800 A.4.2).

    Errors: ValueError.
    """
    at = data.find(JPEG_2000)
    right, lower, _, _, *tile, _ = struct.unpack(">8LH", data[at + 8 : at + 42])
    across, down = -(-(right - tile[2]) // max(tile[0], 1)), -(-(lower - tile[3]) // max(tile[1], 1))
    at += 2
    while data[at : at + 2] != TILE_PART:
        if data[at : at + 1] != b"\xff":
            raise ValueError("no tile")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    tiles = set()
    while data[at : at + 2] == TILE_PART:
        number, length = struct.unpack(">HL", data[at + 4 : at + 10])
        tiles.add(number)
        if length == 0:  # up to the end, which must be there
            at = data.find(CODESTREAM_END, at)
        elif length < TILE_HEADER_BYTES or at + length > len(data):
            raise ValueError("a tile is cut")
        else:
            at += length
        if at < 0:
            raise ValueError("no end")
    if len(tiles) != across * down:
        raise ValueError("tiles are missing")


def check_scans(path: Path) -> None:
    """Refuse a JPEG file of too many scans."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        read_jpeg(data)
