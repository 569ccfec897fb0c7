"""The noise is normal, unpredictable and fast; a patient's coins are the patient's own."""

import os
import time
from hashlib import blake2b

import numpy as np
import pytest
from scipy import stats

from shared.privacy.noise import Coins, NoiseSource

KEY = bytes(range(32))


def test_noise_is_standard_normal() -> None:
    """Mean, variance, lag-1 and lag-2 correlation and the whole distribution are those of N(0, std²)."""
    std, size = 3.0, 200_000
    values = NoiseSource.seeded_without_privacy(KEY).gaussian((size,), std).numpy() / std
    assert abs(values.mean()) < 4 / np.sqrt(size)
    low, high = stats.chi2.ppf([1e-5, 1 - 1e-5], size)
    assert low < (values**2).sum() < high
    for lag in (1, 2, size // 4):
        assert abs(np.mean(values[lag:] * values[:-lag])) < 4.5 / np.sqrt(size - lag)
    assert stats.kstest(values, "norm").pvalue > 1e-4


def test_cells_are_equally_filled() -> None:
    """A chi-square over 100 equally likely cells finds no preference."""
    values = NoiseSource.seeded_without_privacy(KEY[::-1]).gaussian((100_000,), 1.0).numpy()
    counts = np.histogram(stats.norm.cdf(values), bins=100, range=(0, 1))[0]
    assert stats.chisquare(counts).pvalue > 1e-4


def test_shape_and_type() -> None:
    """Noise has the asked shape in float64, also beyond one chunk of keystream."""
    noise = NoiseSource().gaussian((3, 30_001), 1.0)
    assert noise.shape == (3, 30_001)
    assert str(noise.dtype) == "torch.float64"
    assert len(np.unique(noise.numpy())) == noise.numel()


def test_zero_std_is_exactly_zero() -> None:
    """No noise means zeros, not tiny values."""
    assert NoiseSource().gaussian((5,), 0.0).tolist() == [0.0] * 5


@pytest.mark.parametrize("std", [-1.0, float("nan"), float("inf")])
def test_impossible_std_is_refused(std: float) -> None:
    """A negative or non-finite standard deviation never becomes noise."""
    with pytest.raises(ValueError, match="std is"):
        NoiseSource().gaussian((1,), std)


def test_two_sources_differ() -> None:
    """Each source takes its own key from the operating system, and none repeats itself."""
    first, second = NoiseSource(), NoiseSource()
    draws = [source.gaussian((8,), 1.0).tolist() for source in (first, second, first)]
    assert draws[0] != draws[1]
    assert draws[0] != draws[2]


# newer Pythons warn about forking beside the libraries' threads; this child only draws and exits
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_fork_takes_a_new_key() -> None:
    """A forked process does not repeat its parent's noise."""
    source = NoiseSource()
    parent_reads, child_writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(child_writes, source.gaussian((4,), 1.0).numpy().tobytes())
        os._exit(0)
    os.waitpid(pid, 0)
    child = np.frombuffer(os.read(parent_reads, 32))
    os.close(parent_reads)
    os.close(child_writes)
    assert child.tolist() != source.gaussian((4,), 1.0).tolist()


def test_seeded_source_repeats_and_says_so() -> None:
    """A seeded source is repeatable and marked, so that privacy code can refuse it."""
    first, second = (NoiseSource.seeded_without_privacy(KEY) for _ in range(2))
    assert first.gaussian((8,), 1.0).tolist() == second.gaussian((8,), 1.0).tolist()
    assert first.seeded
    assert not NoiseSource().seeded
    with pytest.raises(ValueError, match="32"):
        NoiseSource.seeded_without_privacy(b"short")


def test_a_source_says_whether_anything_was_drawn() -> None:
    """Nothing before the first draw, zeros included; from the first integer on, for good."""
    source = NoiseSource()
    source.gaussian((2,), 0.0)
    assert not source.drawn
    source.integers((2,))
    assert source.drawn


def test_noise_is_fast_enough() -> None:
    """Noise for 60,000 parameters costs at most 20 ms (best of several: the machine is shared)."""
    source = NoiseSource()
    times = []
    for _ in range(10):
        start = time.perf_counter()
        source.gaussian((60_000,), 1.0)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.020


def test_coins_belong_to_the_patient() -> None:
    """A patient's coins are the same whoever else is asked about, before or after."""
    everyone = Coins(KEY)
    tossed = {f"p{i}": everyone.included(f"p{i}", 3, 0.5) for i in range(100)}
    alone = Coins(KEY)
    assert alone.included("p57", 3, 0.5) == tossed["p57"]
    assert alone.views("p57", 3, 8, 2) == everyone.views("p57", 3, 8, 2)


def test_coins_depend_on_key_step_and_patient() -> None:
    """Another key, step or patient is another toss."""

    def row(coins: Coins, step: int, prefix: str) -> list[bool]:
        return [coins.included(f"{prefix}{i}", step, 0.5) for i in range(64)]

    rows = [
        row(Coins(KEY), 1, "p"),
        row(Coins(KEY), 2, "p"),
        row(Coins(KEY), 1, "q"),
        row(Coins.fresh(), 1, "p"),
    ]
    assert len({tuple(r) for r in rows}) == 4


def test_coins_are_the_same_in_every_version() -> None:
    """Who computes a round again, with this program or the next, draws the same patients: the words by hand."""
    message = bytes([0] * 7 + [3] + [0] * 4) + b"p7"
    word = int.from_bytes(blake2b(message, digest_size=8, key=KEY, person=b"included").digest(), "big")
    for share, drawn in ((word + 2**40, True), (word - 2**40, False)):
        assert Coins(KEY).included("p7", 3, share / 2.0**64) == drawn


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_of_another_length_is_refused(size: int) -> None:
    """A key has 16 to 64 bytes."""
    with pytest.raises(ValueError, match=f"key has {size} bytes, allowed is 16 to 64"):
        Coins(bytes(size))
    assert [Coins(bytes(allowed)).included("p", 0, 1.0) for allowed in (16, 64)] == [True, True]


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.9])
def test_coins_have_the_asked_rate(rate: float) -> None:
    """The share of patients drawn is the sample rate, and steps are independent."""
    coins = Coins(KEY)
    tosses = np.array([[coins.included(f"p{i}", step, rate) for i in range(2000)] for step in range(5)])
    assert stats.binomtest(int(tosses.sum()), tosses.size, rate).pvalue > 1e-4
    both = int((tosses[0] & tosses[1]).sum())
    assert stats.binomtest(both, 2000, rate**2).pvalue > 1e-4


def test_coins_at_the_ends() -> None:
    """A rate of 1 takes everyone, a rate of 0 no one."""
    coins = Coins.fresh()
    assert all(coins.included(f"p{i}", 0, 1.0) for i in range(100))
    assert not any(coins.included(f"p{i}", 0, 0.0) for i in range(100))


def test_views_are_distinct_and_uniform() -> None:
    """Views of one step never repeat, and every pair of views is equally likely."""
    coins = Coins(KEY)
    drawn = [coins.views(f"p{i}", 0, 4, 2) for i in range(3000)]
    assert all(len(set(views)) == 2 for views in drawn)
    counts = [drawn.count(pair) for pair in sorted(set(drawn))]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-4
    assert coins.views("p", 0, 3, 3) == (0, 1, 2)
    assert coins.views("p", 0, 1, 1) == (0,)
    for asked in (3, 0):
        with pytest.raises(ValueError, match="num_views"):
            coins.views("p", 0, 2, asked)
