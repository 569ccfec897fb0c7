"""Cells of a frame: the same place of the body is the same cell, and an even map is 1 in every cell."""

import numpy as np
import pytest

from shared.explain.frames import CHEST, IMAGE, WHOLE, Box, Frame, box_of, lifts

SIDE = 4
QUARTERS = Frame("quarters", Box(0.25, 0.25, 0.75, 0.75))


def test_a_shifted_and_larger_region_puts_its_energy_into_the_same_cell() -> None:
    """The upper left quarter of a region is one cell of the frame, wherever and however large the region is."""
    for left, top, width, height in ((4, 4, 8, 8), (3, 5, 8, 8), (4, 4, 6, 8), (2, 6, 10, 4)):
        found = np.zeros((16, 16))
        found[top : top + height // 2, left : left + width // 2] = 1
        box = Box(left / 16, top / 16, (left + width) / 16, (top + height) / 16)
        placed = lifts(found, box, QUARTERS, SIDE)
        assert placed is not None
        others = placed.copy()
        others[1, 1] = 0
        assert placed[1, 1] > 1
        assert np.allclose(others, 0)


def test_energy_over_area_by_hand() -> None:
    """A cell with half of the energy on a sixteenth of the image has 8; the rest lies evenly on the others."""
    found = np.full((8, 8), 1.0)
    found[2:4, 4:6] = 15.0  # 4 pixels of 15 beside 60 of 1: half of the energy
    placed = lifts(found, WHOLE, IMAGE, SIDE)
    assert placed is not None
    assert placed[1, 2] == pytest.approx(8)
    assert placed[0, 0] == pytest.approx(0.5 / (15 / 16))
    assert placed.mean() == pytest.approx(1)


@pytest.mark.parametrize(
    "box", [WHOLE, Box(0.3, 0.2, 0.6, 0.9), Box(0.0, 0.0, 0.5, 0.5), Box(0.05, 0.4, 1.0, 1.0)]
)
def test_a_map_that_is_the_same_everywhere_is_1_in_every_cell(box: Box) -> None:
    """Cells at the rim cover more of the image than others, or less, and still read 1."""
    for side in (4, 7, 14):
        placed = lifts(np.full((30, 50), 0.2), box, CHEST, side)
        assert placed == pytest.approx(np.ones((side, side)))


def test_what_lies_at_the_border_of_the_image_stays_in_sight() -> None:
    """A marker in a corner, far outside the region, is in the corner cell."""
    found = np.zeros((20, 20))
    found[0, 0] = 1
    placed = lifts(found, Box(0.45, 0.45, 0.55, 0.55), CHEST, 7)
    assert placed is not None
    assert np.flatnonzero(placed).tolist() == [0]


def test_a_cell_that_hardly_lies_on_the_image_says_nothing() -> None:
    """Where the region fills the image, the frame's rim lies beyond it: those cells read 1, not 0 and not a guess."""
    found = np.zeros((20, 20))
    found[10, 10] = 1
    placed = lifts(found, WHOLE, QUARTERS, SIDE)
    assert placed is not None
    assert placed[0] == pytest.approx(np.ones(SIDE))
    assert placed[1, 1] == 0
    assert placed[2, 2] == pytest.approx(4)


def test_pixels_are_divided_among_cells_by_area() -> None:
    """Three pixels on two cells: the middle one counts half on each side."""
    placed = lifts(np.array([[1.0, 2.0, 5.0]] * 3), WHOLE, IMAGE, 2)
    assert placed == pytest.approx(np.array([[2 / 8 * 2, 6 / 8 * 2]] * 2))


def test_a_map_without_energy_is_no_map() -> None:
    """Nothing, or numbers that are none, have no cells."""
    assert lifts(np.zeros((4, 4)), WHOLE, IMAGE, 2) is None
    assert lifts(np.full((4, 4), np.nan), WHOLE, IMAGE, 2) is None


def test_the_box_of_a_region() -> None:
    """The smallest box around all that is marked, in shares of the sides; none around nothing."""
    region = np.zeros((10, 20), dtype=bool)
    region[2, 5] = region[7, 14] = True
    assert box_of(region) == Box(0.25, 0.2, 0.75, 0.8)
    assert box_of(region & False) is None
