"""Rules of suspecting writing in a picture."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from shared.data.burned_in_text import num_suspects, suspects
from tests.dicom_files import with_text

NAMES = ("DOE^JOHN", "Mueller A 1954", "1968-08-08", "Li Wei")


def chest(side: int = 320, seed: int = 0) -> np.ndarray:
    """Return something like a film (S, S) uint8: a bright body on dark air, ribs across it, noise."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    body = 150 * np.exp(-(((x - 0.5) / 0.35) ** 4))
    ribs = 25 * np.sin(y * 70 + 8 * (x - 0.5) ** 2) * (np.abs(x - 0.5) < 0.3)
    return (20 + body + ribs + random.normal(0, 4, (side, side))).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("side", [320, 1024, 1500])
def test_a_film_without_writing_is_no_suspect(side: int) -> None:
    """Body outline, ribs and noise are not taken for writing at any size."""
    assert [num_suspects(chest(side, seed)) for seed in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("text", NAMES)
@pytest.mark.parametrize(("side", "size"), [(320, 10), (1500, 26)])
@pytest.mark.parametrize("corner", ["top left", "bottom right"])
def test_a_printed_name_is_a_suspect(text: str, side: int, size: int, corner: str) -> None:
    """A line of four letters or more in a corner is found in small and large films."""
    place = (6, 6) if corner == "top left" else (side - 9 * size, side - 2 * size)
    assert num_suspects(with_text(chest(side), text, size, place)) > 0


def test_dark_writing_on_a_bright_label_is_a_suspect() -> None:
    """Black letters on a white label are found as white ones on black are."""
    label = Image.fromarray(chest())
    ImageDraw.Draw(label).rectangle((4, 4, 140, 24), fill=230)
    assert num_suspects(with_text(np.asarray(label), "SCHMIDT ERIKA", 11, (8, 8), fill=10)) > 0


@pytest.mark.parametrize("marker", ["L", "R", "AP", "PA"])
def test_a_side_marker_is_no_suspect(marker: str) -> None:
    """One or two letters, as on nearly every film, are let through."""
    assert num_suspects(with_text(chest(), marker, 16)) == 0


def test_leads_are_no_suspects() -> None:
    """Thin bright curves that cross each other are not lines of writing."""
    film = Image.fromarray(chest())
    draw = ImageDraw.Draw(film)
    for shift in range(0, 60, 12):
        draw.arc((20 + shift, 30, 180 + shift, 150 + shift), 0, 200, fill=250, width=2)
    assert num_suspects(np.asarray(film)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3)])
def test_a_sliver_is_looked_at_without_failing(shape: tuple[int, int]) -> None:
    """Odd shapes give a number, not an error."""
    assert num_suspects(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)) >= 0


@pytest.mark.parametrize(("side", "size"), [(320, 10), (1500, 26)])
def test_the_place_of_a_line_is_told(side: int, size: int) -> None:
    """The box lies around the printed line, in pixels of the picture itself, also where that was reduced."""
    place = (side // 2, side // 3)
    grey = with_text(chest(side), NAMES[0], size, place)
    ink = np.argwhere(grey != chest(side))
    around = (ink[:, 1].min(), ink[:, 0].min(), ink[:, 1].max() + 1, ink[:, 0].max() + 1)
    found = suspects(grey)
    for box in found:  # the bright letters, and the dark gaps between them
        np.testing.assert_allclose(box, around, atol=size)
    np.testing.assert_allclose(found[0], around, atol=max(3, size // 3))
