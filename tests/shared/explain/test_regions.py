import numpy as np
import pytest
import torch

from shared.explain.regions import (
    agreement,
    border_ring,
    centre_map,
    corners,
    energy_over_area,
    random_lift,
    random_map,
    seeded,
)


def test_energy_over_area_is_share_of_energy_over_share_of_area() -> None:
    """Three quarters of the energy in a quarter of the image is a lift of 3; a uniform map has 1."""
    region = torch.zeros(4, 4, dtype=torch.bool)
    region[:2, :2] = True
    found = torch.where(region, 3.0, 1 / 3)
    assert energy_over_area(found, region) == pytest.approx(3)
    assert energy_over_area(torch.ones(4, 4), region) == pytest.approx(1)


@pytest.mark.parametrize("found", [torch.zeros(4, 4), torch.ones(4, 4)])
def test_what_cannot_be_measured_is_none(found: torch.Tensor) -> None:
    """No region, an empty region, or a map without evidence give None, never zero or a division by it."""
    empty = torch.zeros(4, 4, dtype=torch.bool)
    assert energy_over_area(found, None) is None
    assert energy_over_area(found, empty) is None
    assert energy_over_area(torch.zeros(4, 4), ~empty) is None
    assert random_lift(empty, (2, 2), "a") is None


def test_a_region_of_another_size_is_refused() -> None:
    """A mask must have the map's size."""
    with pytest.raises(ValueError, match="allowed is the map's"):
        energy_over_area(torch.ones(4, 4), torch.ones(4, 5, dtype=torch.bool))


def test_ring_and_corners_are_where_they_should_be() -> None:
    """The ring is the outermost 8 % of each side, the corners four boxes of 20 %."""
    ring, boxes = border_ring((50, 100)), corners((50, 100))
    assert int((~ring).sum()) == (50 - 8) * (100 - 16)
    assert not ring[4:-4, 8:-8].any()
    assert int(boxes.sum()) == 4 * 10 * 20
    assert boxes[0, 0]
    assert boxes[-1, -1]
    assert not boxes[25].any()


def test_random_maps_have_no_preference() -> None:
    """Random maps put as much energy into any region as its area, within Monte Carlo error."""
    region = torch.zeros(32, 32, dtype=torch.bool)
    region[3:20, 8:14] = True
    lift = random_lift(region, (4, 4), "image", num_draws=2000)
    assert lift == pytest.approx(1, abs=0.05)


def test_random_maps_are_fixed_by_the_key() -> None:
    """The same key gives the same floor, another key another one, and no draw is without evidence."""
    region = corners((16, 16))
    assert random_lift(region, (4, 4), "a") == random_lift(region, (4, 4), "a")
    assert random_lift(region, (4, 4), "a") != random_lift(region, (4, 4), "b")
    generator = seeded("one cell")
    assert all(random_map((1, 1), (4, 4), generator).sum() > 0 for _ in range(20))


def test_the_centre_map_is_symmetric_and_peaks_in_the_middle() -> None:
    """The centre map falls from the middle alike in all directions: exp(-1/2) a quarter side away."""
    bump = centre_map((9, 9))
    torch.testing.assert_close(bump, bump.flip(0, 1))
    torch.testing.assert_close(bump, bump.T)
    assert bump.argmax() == 40
    assert bump[4, 6] == pytest.approx(torch.tensor(-0.5).exp())


def test_agreement_compares_cells_not_pixels() -> None:
    """Maps with equal cell means agree fully, reversed ones fully disagree, flat ones cannot be compared."""
    coarse = torch.arange(16.0).view(4, 4)
    fine = coarse.repeat_interleave(4, 0).repeat_interleave(4, 1)
    rough = fine.clone()
    rough[::2] += 0.4
    rough[1::2] -= 0.4
    assert agreement(fine, rough, (4, 4)) == pytest.approx(1)
    assert agreement(fine, fine.flip(0, 1), (4, 4)) == pytest.approx(-1)
    expected = np.corrcoef(range(16), np.square(range(16)))[0, 1]
    assert agreement(fine, fine.square(), (4, 4), "pearson") == pytest.approx(expected)
    assert agreement(fine, torch.ones(16, 16), (4, 4)) is None
    assert agreement(fine, fine * float("nan"), (4, 4)) is None
