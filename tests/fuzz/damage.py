"""Damage to a file: bytes and a generator come in, other bytes go out, the same for the same seed."""

import struct
from collections.abc import Callable

import numpy as np

EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
MARKERS = (
    b"\xff\xd8",
    b"\xff\xd9",
    b"\xff\xda",
    b"\xff\xc0",
    b"\xff\xc4",
    b"\xff\x4f\xff\x51",
    b"\xff\x93",
    b"\xfe\xff\x00\xe0",
)


def damaged(whole: bytes, rng: np.random.Generator) -> bytes:
    """Return the bytes with one to three kinds of damage."""
    data = bytearray(whole)
    for _ in range(int(rng.integers(1, 4))):
        KINDS[int(rng.integers(len(KINDS)))](data, rng)
    return bytes(data)


def _at(data: bytearray, rng: np.random.Generator) -> int:
    return int(rng.integers(max(len(data), 1)))


def _flip(data: bytearray, rng: np.random.Generator) -> None:
    """Change bits here and there, in one place in two cases of three: codecs take other ways then."""
    for _ in range(int(rng.choice((1, 1, 8)))):
        if data:
            data[_at(data, rng)] ^= 1 << int(rng.integers(8))


def _byte(data: bytearray, rng: np.random.Generator) -> None:
    if data:
        data[_at(data, rng)] = int(rng.integers(256))


def _cut(data: bytearray, rng: np.random.Generator) -> None:
    del data[_at(data, rng) :]


def _take_out(data: bytearray, rng: np.random.Generator) -> None:
    at = _at(data, rng)
    del data[at : at + int(rng.integers(1, 40))]


def _put_in(data: bytearray, rng: np.random.Generator) -> None:
    at = _at(data, rng)
    data[at:at] = rng.bytes(int(rng.integers(1, 40)))


def _repeat(data: bytearray, rng: np.random.Generator) -> None:
    at = _at(data, rng)
    data[at:at] = data[at : at + int(rng.integers(1, 200))]


def _fill(data: bytearray, rng: np.random.Generator) -> None:
    at, length = _at(data, rng), int(rng.integers(1, 60))
    data[at : at + length] = bytes([int(rng.choice((0, 255)))]) * len(data[at : at + length])


def _number(data: bytearray, rng: np.random.Generator) -> None:
    """Write a number at which programs go wrong, in one of the ways that formats store numbers."""
    order, (letter, top) = (
        rng.choice(("<", ">")),
        (("B", 0xFF), ("H", 0xFFFF), ("I", 0xFFFFFFFF))[int(rng.integers(3))],
    )
    packed = struct.pack(f"{order}{letter}", int(rng.choice(EDGES)) & top)
    at = _at(data, rng)
    data[at : at + len(packed)] = packed


def _marker(data: bytearray, rng: np.random.Generator) -> None:
    marker, at = MARKERS[int(rng.integers(len(MARKERS)))], _at(data, rng)
    data[at : at + len(marker)] = marker


KINDS: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    _flip, _flip, _byte, _byte, _cut, _take_out, _put_in, _repeat, _fill, _number, _number, _marker,
)  # fmt: skip
