"""What maps are laid over: mean films in a frame, outlines as paths, pictures as PNG."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from server.audit.mean_image import MeanFilm, edges, into_frame, outline, png, rim
from shared.explain.frames import CHEST, IMAGE, WHOLE, Box

SIDE_PX = 192


def points(path: str) -> np.ndarray:
    return np.array([[float(one) for one in pair.split()] for pair in re.findall(r"[\d.]+ [\d.]+", path)])


def test_regions_at_different_places_come_to_lie_on_each_other() -> None:
    """The films of two people, one smaller and aside, have the same picture in the frame."""
    large, small = np.zeros((64, 64)), np.zeros((64, 64))
    large[8:56, 8:56], small[20:44, 4:28] = 1, 1
    first = into_frame(large, Box(8 / 64, 8 / 64, 56 / 64, 56 / 64), CHEST)
    second = into_frame(small, Box(4 / 64, 20 / 64, 28 / 64, 44 / 64), CHEST)
    rows, columns = np.flatnonzero(first.any(1)), np.flatnonzero(first.any(0))
    assert columns[0] / SIDE_PX == pytest.approx(CHEST.box.left, abs=0.02)
    assert (rows[-1] + 1) / SIDE_PX == pytest.approx(CHEST.box.bottom, abs=0.02)
    assert np.abs(first - second).mean() < 0.03


def test_a_mean_film_is_the_mean_where_films_reach() -> None:
    """Two even films of 40 and 80 give 60; outside all films it is black."""
    mean = MeanFilm(CHEST)
    for grey in (40, 80):
        mean.add(np.full((32, 32, 3), grey, np.uint8), WHOLE, {})
    picture = np.asarray(Image.open(io.BytesIO(mean.picture().content)))
    assert picture.shape == (SIDE_PX, SIDE_PX)
    assert picture[SIDE_PX // 2, SIDE_PX // 2] == 60
    assert picture[0, 0] == 0
    assert mean.num_images == 2


@pytest.mark.parametrize(("covered", "shown"), [(0.011, 60), (0.009, 0)])
def test_a_hundredth_of_a_film_is_enough(covered: float, shown: int) -> None:
    """Where at least a hundredth of a film reaches it is shown at its own grey; less is black."""
    mean = MeanFilm(CHEST)
    mean._film += 60 * covered
    mean._covered += covered
    assert np.asarray(Image.open(io.BytesIO(mean.picture().content))).min() == shown


def test_outlines_are_round_what_most_films_have() -> None:
    """A region of two of three films is drawn, one of one is not; an area of every film counts those that have it."""
    mean = MeanFilm(IMAGE)
    region, other = np.zeros((32, 32), bool), np.zeros((32, 32), bool)
    region[8:24, 8:24], other[0:4, 0:4] = True, True
    for number in range(3):
        mean.add(np.zeros((32, 32, 3), np.uint8), WHOLE, {"lungs": region if number else other})
    found = points(mean.outlines()["lungs"])
    assert found.min(0) == pytest.approx([0.25, 0.25], abs=0.01)
    assert found.max(0) == pytest.approx([0.75, 0.75], abs=0.01)


def test_an_outline_goes_round_and_leaves_out_points_on_straight_lines() -> None:
    """A square has few points, a region at the border is closed there, an empty one has no path."""
    square = np.zeros((50, 50))
    square[10:40, 10:40] = 1
    path = outline(square)
    assert path.startswith("M")
    assert path.endswith("Z")
    assert len(points(path)) <= 8
    square[:, :25] = 1
    assert points(outline(square)).min(0) == pytest.approx([0, 0])
    assert outline(np.zeros((50, 50))) == ""


def test_border_and_corners_are_those_of_the_films() -> None:
    """Films that fill the frame have a ring of 8 and corners of 20 percent; larger ones have what is left of them."""
    whole = rim(edges(WHOLE, IMAGE))
    assert whole["border"].count("M") == 2
    assert sorted(set(points(whole["border"]).ravel())) == [0, 0.08, 0.92, 1]
    assert whole["corners"].count("M") == 4
    assert sorted(set(points(whole["corners"]).ravel())) == [0, 0.2, 0.8, 1]
    beyond = rim(np.array([-1.0, 0.0, 2.0, 1.0]))
    assert sorted(set(points(beyond["border"])[:, 1])) == [0, 0.08, 0.92, 1]
    assert beyond["corners"] == ""
    assert rim(np.array([-1.0, -1.0, 2.0, 2.0])) == {"border": "", "corners": ""}


def test_the_edges_of_a_film_follow_its_region() -> None:
    """A region of half the sides in the middle, brought to the frame's box, doubles what lies around it."""
    box = Box(0.25, 0.25, 0.75, 0.75)
    across, down = CHEST.box.right - CHEST.box.left, CHEST.box.bottom - CHEST.box.top
    assert edges(box, CHEST) == pytest.approx([
        CHEST.box.left - across / 2, CHEST.box.top - down / 2, CHEST.box.right + across / 2,
        CHEST.box.bottom + down / 2,
    ])  # fmt: skip


def test_masks_have_one_bit_a_pixel_and_equal_pictures_equal_bytes() -> None:
    """A mask is read back as it was, from a PNG of one bit; the same picture has the same digest."""
    mask = np.random.default_rng(0).random((40, 40)) > 0.5
    blob = png(mask)
    opened = Image.open(io.BytesIO(blob.content))
    assert opened.mode == "1"
    assert np.array_equal(np.asarray(opened), mask)
    assert png(mask.copy()).digest == blob.digest
