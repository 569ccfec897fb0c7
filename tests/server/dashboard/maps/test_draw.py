import io
from itertools import product

import numpy as np
import pytest
from PIL import Image

from server.dashboard.maps import colours, draw
from server.dashboard.maps.cells import Cells

SIDE = 140


def film_png(lightness: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray((lightness * 255).astype(np.uint8)).save(out, format="PNG")
    return out.getvalue()


def read(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGBA"))


def sure(values: np.ndarray, width: float = 0.01, expected: float = 1.0) -> Cells:
    return Cells(values, values - width, values + width, expected)


def middle(picture: np.ndarray, row: int, column: int, cells: int = 7) -> list[int]:
    """Colour a little off the middle of a cell, where no line runs."""
    step = picture.shape[0] // cells
    return list(picture[row * step + step // 2 + 4, column * step + step // 2 + 4])


@pytest.mark.parametrize("style", ["alone", "overlay", "difference"])
def test_equal_values_have_equal_colours_in_the_files(style: draw.Style) -> None:
    """Pixels read back from PNG files of unlike maps and sizes: 200 pairs of one value, 0 that differ."""
    rng, seen = np.random.default_rng(1), 0
    for _ in range(100):
        first, second = rng.gamma(1, size=(7, 7)) * 2, rng.gamma(1, size=(5, 5)) * 9
        value = float(rng.uniform(1.2, 4))
        first[2, 3] = second[4, 0] = second[1, 1] = value
        pictures = [
            read(draw.png(draw.layer(style, side, sure(one)))) for side, one in ((SIDE, first), (200, second))
        ]
        expected = middle(pictures[0], 2, 3)
        for row, column in ((4, 0), (1, 1)):
            assert middle(pictures[1], row, column, 5) == expected
            seen += 1
    print(f"{style}: {seen} pairs of equal values, 0 colours that differ")
    assert seen == 200


def test_an_overlay_is_its_layer_over_the_dimmed_film() -> None:
    """What a browser composes from film and layer is the one picture that others download, to a step of 256."""
    rng = np.random.default_rng(2)
    film = draw.film_picture(film_png(rng.random((64, 64))), SIDE)
    above = draw.layer("overlay", SIDE, sure(rng.gamma(1, size=(7, 7))))
    whole = draw.overlaid(film, above)
    ground = Image.fromarray(film).convert("RGBA")
    composed = np.asarray(Image.alpha_composite(ground, Image.fromarray(above)))
    assert abs(whole.astype(int) - composed).max() <= 1


def test_a_cell_that_may_be_noise_has_no_colour() -> None:
    """Grey hatching stands there in every style, however large the value is."""
    values = np.full((7, 7), 1.0)
    values[3, 3], values[0, 0] = 4.0, 4.0
    low, high = values - 5, values + 5
    low[0, 0] = 3.0
    for style in ("alone", "overlay", "difference"):
        drawn = draw.layer(style, SIDE, Cells(values, low, high))
        cell = drawn[61:79, 61:79].reshape(-1, 4)
        visible = cell[cell[:, 3] > 0]
        assert (visible[:, 0] == visible[:, 1]).all()
        assert (visible[:, 1] == visible[:, 2]).all()
        assert len(np.unique(cell, axis=0)) == 2  # ground and lines
        colour = drawn[10, 4]
        assert colour[0] != colour[2]


def test_a_mean_map_without_intervals_is_hatched_everywhere() -> None:
    """Too few patients for an interval must not look surer than many; a single image's map is drawn as it is."""
    values = np.random.default_rng(6).gamma(1, size=(7, 7))
    mean, single = (draw.layer("alone", SIDE, Cells(values), single=one) for one in (False, True))
    assert (mean[..., 0] == mean[..., 2]).all()
    assert (single[..., 0] != single[..., 2]).mean() > 0.5


def test_who_asks_sees_colours_under_the_hatching() -> None:
    """The cell's own colour between the lines, so that it is still marked as what may be noise."""
    values = np.full((7, 7), 2.0)
    cells = Cells(values, values - 5, values + 5)
    for style, paint in (("alone", colours.alone), ("overlay", colours.over)):
        hidden, shown = (draw.layer(style, SIDE, cells, under=under) for under in (False, True))
        expected = paint(np.array([2.0]))[0].tolist()
        assert expected not in hidden.reshape(-1, 4).tolist()
        used = np.unique(shown.reshape(-1, 4), axis=0).tolist()
        assert expected in used
        assert len(used) == 2


def test_nothing_is_smoothed() -> None:
    """A cell is one colour up to its edge."""
    values = np.array([[0.0, 4.0], [2.0, 3.0]])
    drawn = draw.layer("alone", 100, Cells(values), single=True)
    expected = colours.alone(values)
    for row, column in product(range(2), repeat=2):
        block = drawn[row * 50 + 4 : row * 50 + 46, column * 50 + 4 : column * 50 + 46].reshape(-1, 4)
        assert (block == expected[row, column]).all()


def test_a_map_of_noise_alone_has_no_contour() -> None:
    """Contours would give it a shape; a map with a finding has both lines."""
    values = np.random.default_rng(3).gamma(1, size=(7, 7))
    unsure = draw.layer("overlay", SIDE, Cells(values, values - 9, values + 9))
    assert not (unsure[..., :3] == 255).all(-1).any()
    low = values - 9
    low[np.unravel_index(values.argmax(), values.shape)] = (
        2.0  # one cell is sure: not what a line would enclose
    )
    assert not (draw.layer("overlay", SIDE, Cells(values, low, values + 9))[..., :3] == 255).all(-1).any()
    found = draw.layer("overlay", SIDE, sure(values))
    assert (found[..., :3] == 255).all(-1).sum() > 100


def test_signs_tell_more_from_less_without_colour() -> None:
    """In greyscale a plus has an upright line and a minus has none."""
    drawn = draw.layer("difference", 140, sure(np.array([[1.0, -1.0]]), expected=0.0))
    dark = (drawn[..., :3] == 30).all(-1)
    assert dark[60, 35]
    assert not dark[60, 105]
    assert dark[70, 105]


def test_a_png_keeps_every_colour_and_is_the_same_bytes_twice() -> None:
    """With a palette and without, what is read is what was drawn, opacity included."""
    rng = np.random.default_rng(4)
    few = draw.layer("overlay", SIDE, sure(rng.gamma(1, size=(7, 7))))
    many = rng.integers(0, 256, (40, 40, 4), np.uint8)
    grey = rng.integers(0, 256, (40, 40), np.uint8)
    for picture in (few, many):
        np.testing.assert_array_equal(read(draw.png(picture)), picture)
        assert draw.png(picture) == draw.png(picture.copy())
    np.testing.assert_array_equal(read(draw.png(grey))[..., 0], grey)
    assert len(draw.png(few)) < 3_000


def test_a_sheet_puts_squares_where_the_page_looks_for_them() -> None:
    """Each square stands at its corner; where there is none, the sheet is clear."""
    layers = [np.full((10, 10, 4), k, np.uint8) for k in (1, 2)]
    drawn = draw.sheet([layers[0], None, layers[1]], 10, 2)
    assert drawn.shape == (24, 24, 4)
    left, top = draw.corner_of(2, 10, 2)
    assert (drawn[top : top + 10, left : left + 10] == 2).all()
    left, top = draw.corner_of(1, 10, 2)
    assert (drawn[top : top + 10, left : left + 10] == 0).all()
    assert draw.sheet([layers[0]], 10, 3).shape == (10, 10, 4)
