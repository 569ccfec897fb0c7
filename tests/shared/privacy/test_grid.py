"""One clip is as many units as the noise allows, never more."""

from fractions import Fraction

import pytest

from shared.privacy.grid import Grid


@pytest.mark.parametrize("sigma", [0.1, 0.79832, 1.0, 4.0, 1e4])
@pytest.mark.parametrize("clip", [1e-4, 0.7, 1e4])
def test_the_noise_is_at_least_the_multiplier_times_the_clip(sigma: float, clip: float) -> None:
    """2^44 units of noise over the clip's units is at least sigma, and no more than a billionth above it."""
    grid = Grid.of(sigma, clip)
    ratio = Fraction(2**44, grid.clip_units)
    assert Fraction(sigma) <= ratio <= Fraction(sigma) * Fraction(1_000_000_001, 1_000_000_000)
    assert grid.unit * grid.clip_units == pytest.approx(clip, rel=1e-15)


def test_without_noise_a_clip_has_as_many_units_as_noise_of_one() -> None:
    """Sums without noise are as fine as those with it."""
    assert Grid.of(0.0, 0.5).clip_units == 2**44


@pytest.mark.parametrize(("sigma", "units"), [(0.0625, 2**48), (1e13, 1)])
def test_the_smallest_and_the_largest_noise_are_allowed(sigma: float, units: int) -> None:
    """At the smallest, 2^15 clips stay below 2^63; at the largest, a clip is still one unit."""
    assert Grid.of(sigma, 1.0).clip_units == units


@pytest.mark.parametrize(
    ("sigma", "clip"), [(0.0624, 1.0), (2e13, 1.0), (0.06, 1.0), (1e14, 1.0), (1.0, float("inf")), (1.0, 0.0)]
)
def test_a_grid_that_cannot_be_is_refused(sigma: float, clip: float) -> None:
    """Sums that could overflow, clips of no unit and missing clips are refused."""
    with pytest.raises(ValueError, match="multipliers of 0 or"):
        Grid.of(sigma, clip)
