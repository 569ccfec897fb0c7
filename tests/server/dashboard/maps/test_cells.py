import numpy as np
import pytest

from server.dashboard.maps.cells import Cells, enlarged, holding, most_energy, of_grid
from server.store.records import Grid


def test_a_cell_stands_out_where_its_interval_leaves_out_the_even_value() -> None:
    """Above, below and around: only the first two stand out, and the edge itself does not."""
    grid = Grid(rows=1, columns=4, values=(2, 0.5, 1.1, 1.5), low=(1.2, 0.2, 0.8, 1.0), high=(3, 0.9, 1.4, 2))
    assert of_grid(grid).stands_out.tolist() == [[True, True, False, False]]


def test_without_intervals_nothing_stands_out() -> None:
    """A map whose noise is not known shows no finding."""
    cells = of_grid(Grid(rows=1, columns=2, values=(3.0, 0.1)))
    assert not cells.has_intervals
    assert not cells.stands_out.any()


def test_the_cells_that_hold_half_of_the_energy_are_the_fewest() -> None:
    """Worked out by hand: 6 and 3 of 12 are 75 percent, 6 alone is half."""
    values = np.array([[6.0, 3.0, 0.0], [1.0, 1.0, 1.0]])
    half, most = holding(values, 0.5), holding(values, 0.8)
    assert half is not None
    assert half.tolist() == [[True, False, False], [False, False, False]]
    # the next cells are equal, so all three of them come with the first two: 5 of 6 cells, too even for a line
    assert most is None


@pytest.mark.parametrize("values", [np.ones((7, 7)), np.zeros((7, 7)), -np.ones((3, 3))])
def test_an_even_or_empty_map_has_no_contour(values: np.ndarray) -> None:
    """A line would give it a shape that it does not have."""
    assert holding(values, 0.5) is None


def test_energy_below_zero_counts_as_none() -> None:
    """Noise can push a released cell below 0; it takes nothing from the others."""
    named = most_energy(np.array([[-5.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 1.0, 3.0]]))
    assert named == [("lower right", 0.75), ("lower middle", 0.25)]


def test_the_ninths_of_a_seven_by_seven_map_hold_all_of_its_energy() -> None:
    """Shares add up to 1, and coarse maps have their places, too."""
    values = np.random.default_rng(0).gamma(1, size=(7, 7))
    assert sum(share for _, share in most_energy(values, 9)) == pytest.approx(1)
    assert most_energy(np.array([[1.0]])) == [("centre", 1.0)]


def test_cells_stay_blocks() -> None:
    """Enlarging repeats values: no value appears that was not released."""
    drawn = enlarged(np.array([[1.0, 2.0], [3.0, 4.0]]), 7)
    assert drawn.shape == (7, 7)
    assert sorted(set(drawn.ravel())) == [1, 2, 3, 4]
    assert Cells(np.ones((2, 2))).expected == 1
