"""Was all of a lossless JPEG decoded? Its bytes and the pixels made of them come in; damage raises.

Codecs fill up what a damaged stream lacks and say nothing. Here the bits that these pixels take are counted by the
stream's own code table and predictor, and compared with the bits that are there. Source: ITU-T T.81 annexes B, F, H.
"""

import re
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
RESTARTS = re.compile(rb"\xff[\xd0-\xd7]")
END_OF_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # any marker but a restart
STANDALONE = {0xD8, 0x01}
CODE_TABLES, RESTART_INTERVAL, SCAN = 0xC4, 0xDD, 0xDA
FRAMES = {0xC3}  # lossless with Huffman codes
NO_CODE = 1 << 20  # bits of a difference that has no code: no stream holds it
SLACK_BITS = 8  # beyond padding: a stray byte before the end harms nothing
BAND_PX = 1 << 20


@dataclass(frozen=True)
class Scan:
    """The one scan of a lossless JPEG of one component."""

    precision: int
    predictor: int
    shift: int  # the point transform
    interval_rows: int  # between restarts; 0 for none
    code_bits: tuple[int, ...]  # length of the code for a difference of 0..16 bits
    data: bytes


def check_lossless(stream: bytes, pixels: npt.NDArray[np.integer]) -> None:
    """Refuse `pixels` (H, W) that take other bits than `stream` has; ValueError."""
    scan = _read(stream, pixels.shape[1])
    parts = RESTARTS.split(scan.data)
    there = 8 * sum(len(part.rstrip(b"\xff")) - part.count(b"\xff\x00") for part in parts)
    taken = _num_bits(pixels, scan)
    if not 0 <= there - taken <= 7 * len(parts) + SLACK_BITS:
        raise ValueError("damaged")


def _num_bits(pixels: npt.NDArray[np.integer], scan: Scan) -> int:
    sizes = np.arange(1 << 16)
    sizes = np.minimum(sizes, (1 << 16) - sizes)  # of differences modulo 65536
    categories = np.ceil(np.log2(sizes + 1)).astype(int)
    extra = np.where(categories < 16, categories, 0)
    cost = (np.array(scan.code_bits)[categories] + extra).astype(np.int32)
    height, width = pixels.shape
    step = max(1, BAND_PX // width)
    num_bits = 0
    for top in range(0, height, step):
        rows = pixels[max(top - 1, 0) : top + step].astype(np.int32) & ((1 << scan.precision) - 1)
        differences = _differences(rows >> scan.shift, max(top - 1, 0), scan)
        num_bits += int(cost[differences[min(top, 1) :] & 0xFFFF].sum(dtype=np.int64))
    return num_bits


def _differences(rows: Ints, first: int, scan: Scan) -> Ints:
    """Return values minus their prediction (T.81 table H.1); `first` is the number of the first row."""
    predicted = np.empty_like(rows)
    left = rows[1:, :-1]
    above, corner = rows[:-1, 1:], rows[:-1, :-1]
    predicted[1:, 1:] = _predicted(left, above, corner, scan.predictor)
    predicted[1:, 0] = rows[:-1, 0]
    numbers = np.arange(first, first + len(rows))
    begins = numbers % scan.interval_rows == 0 if scan.interval_rows else numbers == 0
    predicted[begins, 1:] = rows[begins, :-1]
    predicted[begins, 0] = 1 << (scan.precision - scan.shift - 1)
    return rows - predicted


def _predicted(left: Ints, above: Ints, corner: Ints, predictor: int) -> Ints:
    if predictor in {1, 2, 3}:
        return (left, above, corner)[predictor - 1]
    if predictor == 4:
        return left + above - corner
    if predictor == 5:
        return left + ((above - corner) >> 1)
    if predictor == 6:
        return above + ((left - corner) >> 1)
    if predictor == 7:
        return (left + above) >> 1
    raise ValueError("no such predictor")


def _read(stream: bytes, width: int) -> Scan:
    tables: dict[int, tuple[int, ...]] = {}
    precision = interval = 0
    at = 2
    while True:
        if stream[at : at + 1] != b"\xff":
            raise ValueError("no segment")
        code = stream[at + 1]
        if code == 0xFF or code in STANDALONE:
            at += 1 if code == 0xFF else 2
            continue
        length = int.from_bytes(stream[at + 2 : at + 4], "big")
        body = stream[at + 4 : at + 2 + length]
        at += 2 + length
        if code in FRAMES:
            precision = body[0]
        elif code == CODE_TABLES:
            tables |= _code_tables(body)
        elif code == RESTART_INTERVAL:
            interval = struct.unpack(">H", body)[0]
        elif code == SCAN:
            break
    if body[0] != 1 or not precision or interval % width:
        raise ValueError("another kind")
    end = END_OF_SCAN.search(stream, at)
    data = stream[at : end.start() if end else len(stream)]
    return Scan(precision, body[3], body[5] & 15, interval // width, tables[body[2] >> 4], data)


def _code_tables(body: bytes) -> dict[int, tuple[int, ...]]:
    """Return, by number of table, the length of the code of each category 0..16 (T.81 B.2.4.2)."""
    tables, at = {}, 0
    while at < len(body):
        lengths = [NO_CODE] * 17
        symbols = at + 17
        for bits, count in enumerate(body[at + 1 : at + 17], start=1):
            for symbol in body[symbols : symbols + count]:
                lengths[min(symbol, 16)] = bits
            symbols += count
        tables[body[at] & 15] = tuple(lengths)
        at = symbols
    return tables
