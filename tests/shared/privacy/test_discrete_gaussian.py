"""The integers are a discrete Gaussian's, at a small scale to the last integer, and rare branches are exact too."""

import itertools
import os
from collections.abc import Iterator

import mpmath
import numpy as np
import pytest
from scipy import stats

from shared.privacy import discrete_gaussian as module
from shared.privacy.discrete_gaussian import discrete_gaussian, table


def words(size: int) -> np.ndarray:
    """Random words of the operating system."""
    return np.frombuffer(os.urandom(8 * size), dtype="<u8")


@pytest.fixture
def small_scale(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let the scale be 2^18, the smallest that a word's packing allows: places in a cell can be told apart."""
    monkeypatch.setattr(module, "SCALE_BITS", 18)
    monkeypatch.setattr(module, "PLACE_BITS", 11)
    table.cache_clear()
    yield 1 << 18
    table.cache_clear()


def test_integers_come_as_often_as_they_should(small_scale: int) -> None:
    """Four million integers of scale 2^18 have the discrete Gaussian's own chances, in steps of a sixteenth cell."""
    values = discrete_gaussian(4_000_000, words)
    reach, step = 13 * small_scale, 128
    grid = np.arange(-reach, reach, dtype=np.float64)
    chances = np.exp(-(grid**2) / (2 * small_scale**2)).reshape(-1, step).sum(1)
    expected = chances / chances.sum() * len(values)
    often = expected > 20
    counts = np.bincount((values + reach) // step, minlength=len(expected))
    seen = [*counts[often], counts[~often].sum()]
    wanted = [*expected[often], expected[~often].sum()]
    assert len(seen) > 10_000
    assert stats.chisquare(seen, wanted).pvalue > 1e-5
    last = np.bincount(values & 127, minlength=128)
    assert stats.chisquare(last).pvalue > 1e-5


def test_cells_of_the_real_scale_hold_a_gaussians_share() -> None:
    """Over 2,000 equally likely cells, mean, spread and the tails are those of N(0, 2^44)."""
    values = discrete_gaussian(1_000_000, words) / 2.0**44
    counts = np.histogram(stats.norm.cdf(values), bins=2000, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-5
    beyond = int((np.abs(values) > 3).sum())
    assert stats.binomtest(beyond, len(values), 2 * stats.norm.sf(3)).pvalue > 1e-5


def test_cells_end_where_the_table_says_to_128_bits() -> None:
    """Each cell's share of the envelope is that of another library's arithmetic, within 2 of 2^-128."""
    mpmath.mp.prec = 300
    half = 13 * 128
    density = [mpmath.exp(-((mpmath.mpf(k) / 128) ** 2) / 2) for k in range(half)]
    total = 2 * mpmath.fsum(density)
    reached = [int(part / total * 2**128) for part in itertools.accumulate([*reversed(density), *density])]
    ends = table().ends
    assert len(ends) == 2 * half
    assert ends[-1] == 2**128
    assert all(abs(found - exact) <= 2 for found, exact in zip(ends[:-1], reached[:-1], strict=True))


def test_what_is_kept_for_sure_is_kept() -> None:
    """Where one word settles a value, its cell is the only one there and its place would be kept at any draw."""
    ends = [0, *table().ends]
    for index in range(0, 1 << 17, 97):
        guide = int(table().guide[index])
        surely, cell = guide & 2047, (guide >> 37) + 13 * 128
        if surely:
            assert ends[cell] <= index << 111
            assert (index + 1) << 111 <= ends[cell + 1]
            outer = max(abs(cell - 1664), abs(cell + 1 - 1664))
            least = mpmath.exp((mpmath.mpf(outer - 1) ** 2 - mpmath.mpf(outer) ** 2) / (2 * 128**2))
            assert surely <= least * 1024 < surely + 1


def test_one_word_settles_nearly_every_value() -> None:
    """Noise is as fast as it is because of that: a hundred thousand values take a twentieth more words at most."""
    taken = []

    def counted(size: int) -> np.ndarray:
        taken.append(size)
        return words(size)

    discrete_gaussian(100_000, counted)
    assert 100_000 < sum(taken) < 105_000


@pytest.mark.parametrize("kept", [True, False])
def test_whether_a_place_is_kept_is_decided_by_63_bits(kept: bool) -> None:
    """Of a place 2.9 scales out, 10 bits of its word and 53 of a fresh one are held against its exact chance."""
    mpmath.mp.prec = 300
    guide, place = 200, 12345
    zeros = np.zeros(1, dtype=np.uint64)
    cell = int(module._cells(np.array([guide], dtype=np.uint64), lambda _: zeros)[0])
    value, nearer = ((cell - 1664) << 37) + place, (cell - 1663) << 37
    chance = 1024 * mpmath.exp((mpmath.mpf(nearer) ** 2 - mpmath.mpf(value) ** 2) / mpmath.mpf(2) ** 89)
    keep = int(chance)
    fresh = (chance - keep) + (-1 if kept else 1) * mpmath.mpf(2) ** -30
    given = iter([zeros, np.array([int(fresh * 2**64)], dtype=np.uint64)])
    drawn = np.array([(guide << 47) | (place << 10) | keep], dtype=np.int64)
    found = module._settled(drawn, lambda size: next(given, words(size)))
    assert (found.tolist() == [value]) == kept


@pytest.mark.parametrize("cell", [200, 1664, 2000, 3000])
def test_a_word_that_ends_where_a_cell_does_is_settled_by_further_bits(cell: int) -> None:
    """64 bits that equal the first 64 of a cell's end leave the choice to the next 64, exactly."""
    end = table().ends[cell]
    high, low = divmod(end, 1 << 64)
    guide = np.array([high >> 47], dtype=np.uint64)
    further = np.array([(high & ((1 << 47) - 1)) << 17], dtype=np.uint64)
    assert low > 0
    for number, expected in ((low, cell + 1), (low - 1, cell)):
        stream = iter([further, np.array([number], dtype=np.uint64)])
        assert module._cells(guide, lambda _size, stream=stream: next(stream)).tolist() == [expected]
        assert next(stream, None) is None, "both words were needed"
