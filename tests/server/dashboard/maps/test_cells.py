import numpy as np
import pytest

from server.dashboard.maps.cells import Cells, enlarged, holding, of_grid, strongest
from server.store.record_kinds import Grid


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


def test_places_are_named_by_their_brightest_cells() -> None:
    """By hand, among the cells that count alone: a high value that does not count names no place."""
    values = np.zeros((7, 7))
    values[0, 0], values[6, 6], values[3, 3] = 9.0, 3.0, 2.0
    among = values > 0
    assert strongest(values, among, 3) == [("upper left", 9.0), ("lower right", 3.0), ("centre", 2.0)]
    among[0, 0] = False
    assert strongest(values, among) == [("lower right", 3.0), ("centre", 2.0)]
    assert strongest(values, np.zeros((7, 7), bool)) == []


@pytest.mark.parametrize("side", [1, 2, 4, 7, 14, 16])
def test_no_side_of_a_picture_is_preferred(side: int) -> None:
    """A map and its mirror image name mirrored places: ninths are as wide on the left as on the right."""
    values = np.random.default_rng(side).gamma(1, size=(side, side))
    every = np.ones((side, side), bool)
    mirrored = {"left": "right", "right": "left"}
    named = [
        (" ".join(mirrored.get(word, word) for word in name.split()), value)
        for name, value in strongest(values, every, 9)
    ]
    assert dict(strongest(values[:, ::-1], every, 9)) == pytest.approx(dict(named))


def test_cells_stay_blocks() -> None:
    """Enlarging repeats values: no value appears that was not released."""
    drawn = enlarged(np.array([[1.0, 2.0], [3.0, 4.0]]), 7)
    assert drawn.shape == (7, 7)
    assert sorted(set(drawn.ravel())) == [1, 2, 3, 4]
    assert Cells(np.ones((2, 2))).expected == 1
