"""Integers from a discrete Gaussian, drawn from random words without a rounded real number in between.

In: a stream of uniform random bytes. Out: integers v with P(v) proportional to exp(-v^2 / (2 s^2)), s = 2^44, and
|v| < 13 s. Such noise on sums that are integers of the same grid leaves no holes for floating-point attacks (arXiv
2107.10138, 2112.05307); `docs/privacy-bounds.md` has the proof of how near it is to the Gaussian that is accounted.

A cell of s / 128 integers is chosen by inversion of a table of 128 bits, a place in it uniformly, and the place is
kept with the chance exp(-v^2 / 2 s^2) / (the cell's largest), else drawn anew. One word of 64 bits does it all for
98 percent of the values: 17 bits for the cell, 37 for the place, 10 to keep it; the rest take further words.
"""

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import lru_cache
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

SCALE_BITS = 44
CELLS_PER_SCALE = 128
REACH = 13  # of the scale: beyond lies 1e-38 of a Gaussian
HALF = REACH * CELLS_PER_SCALE  # cells on either side of zero
PLACE_BITS = SCALE_BITS - 7  # of the integers in a cell
GUIDE_BITS, KEEP_BITS, TABLE_BITS = 17, 10, 128  # 17 + 37 + 10 are a word
DIGITS = 60  # of the decimals that make the table: 128 bits are 39
AT_ONCE = 1 << 15  # words: what is worked on stays in the cache

Words = Callable[[int], NDArray[np.uint64]]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Table:
    """Where each cell ends in the unit interval, and what the first bits of a word already say.

    `ends` holds the upper end of each cell in units of 2^-128, `high` their first 64 bits. `guide` says for every
    value of a word's first 17 bits: the smallest integer of the cell it points into, plus how many of the 1024
    values of its last 10 bits keep any place in that cell for sure (0 where 17 bits do not tell the cell).
    """

    ends: tuple[int, ...]
    high: NDArray[np.uint64]
    guide: Integers


@lru_cache(maxsize=1)
def table() -> Table:
    """Make the table, once a process (a fifth of a second)."""
    with localcontext() as context:
        context.prec = DIGITS
        density = [(-((Decimal(k) / CELLS_PER_SCALE) ** 2) / 2).exp() for k in range(HALF + 1)]
        # cell -k-1 mirrors cell k; each is as likely as if all of it had the density of its end nearer to zero
        masses = [*reversed(density[:HALF]), *density[:HALF]]
        total = sum(masses)
        ends = [int(reached / total * (1 << TABLE_BITS)) for reached in accumulate(masses)]
        ends[-1] = 1 << TABLE_BITS
        surely = [int(density[k + 1] / density[k] * (1 << KEEP_BITS)) for k in range(HALF)]
    keeps = [*reversed(surely), *surely]
    shift = TABLE_BITS - GUIDE_BITS
    guide = np.empty(1 << GUIDE_BITS, dtype=np.int64)
    for index in range(1 << GUIDE_BITS):
        first = bisect_right(ends, index << shift)
        told = ends[first] >= (index + 1) << shift
        guide[index] = ((first - HALF) << PLACE_BITS) + (keeps[first] if told else 0)
    high = np.array([min(end >> (TABLE_BITS - 64), (1 << 64) - 1) for end in ends], dtype=np.uint64)
    return Table(tuple(ends), high, guide)


def discrete_gaussian(size: int, words: Words) -> Integers:
    """Return `size` independent integers; `words(n)` gives n uniform random words of 64 bits, never the same twice."""
    values = np.empty(size, dtype=np.int64)
    room = np.empty((2, min(size, AT_ONCE)), dtype=np.int64)
    left: list[tuple[Integers, Integers]] = []
    for start in range(0, size, AT_ONCE):
        part = values[start : start + AT_ONCE]
        drawn = words(len(part)).view(np.int64)
        not_settled = _fill(part, drawn, room[:, : len(part)])
        left.append((start + not_settled, drawn[not_settled]))
    if left:
        places, drawn = (np.concatenate(parts) for parts in zip(*left, strict=True))
        values[places] = _settled(drawn, words)
    return values


def _fill(values: Integers, drawn: Integers, room: Integers) -> Integers:
    """Write the value of each word; return the places of those that one word does not settle."""
    one, other = room
    np.right_shift(drawn, 64 - GUIDE_BITS, out=one)
    one &= (1 << GUIDE_BITS) - 1
    np.take(table().guide, one, out=values, mode="clip")
    np.bitwise_and(values, (2 << KEEP_BITS) - 1, out=other)
    np.bitwise_and(drawn, (1 << KEEP_BITS) - 1, out=one)
    not_settled = np.flatnonzero(one >= other)
    values -= other
    np.right_shift(drawn, KEEP_BITS, out=one)
    one &= (1 << PLACE_BITS) - 1
    values += one
    return not_settled


def _settled(drawn: Integers, words: Words) -> Integers:
    """Settle words that do not suffice: the cell by 128 bits, then whether the place is kept, else all anew."""
    if not len(drawn):
        return drawn
    cells = _cells(drawn.view(np.uint64) >> np.uint64(64 - GUIDE_BITS), words)
    start = (cells - HALF) << PLACE_BITS
    values = start + ((drawn >> KEEP_BITS) & ((1 << PLACE_BITS) - 1))
    # the place's density over that of the cell's end nearer to zero
    scale = float(1 << SCALE_BITS)
    end = np.abs(np.where(cells >= HALF, start, start + (1 << PLACE_BITS))) / scale
    beyond = np.abs(values) / scale - end
    chance = np.exp(-beyond * (beyond + 2 * end) / 2)
    fresh = (words(len(values)) >> np.uint64(11)) * 2.0**-53
    kept = ((drawn & ((1 << KEEP_BITS) - 1)) + fresh) * 2.0**-KEEP_BITS < chance
    again = np.flatnonzero(~kept)
    values[again] = discrete_gaussian(len(again), words)
    return values


def _cells(guide: NDArray[np.uint64], words: Words) -> Integers:
    """Return the cell that 17 given and 111 further random bits point into."""
    rows = table()
    high = (guide << np.uint64(64 - GUIDE_BITS)) | (words(len(guide)) >> np.uint64(GUIDE_BITS))
    cells: Integers = np.searchsorted(rows.high, high, side="right").astype(np.int64)
    for index in np.flatnonzero(rows.high[np.maximum(cells - 1, 0)] == high):  # once in 2^52 values
        number = (int(high[index]) << 64) | int(words(1)[0])
        cells[index] = bisect_right(rows.ends, number)
    return cells
