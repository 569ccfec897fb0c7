import re

import numpy as np
import pytest

from server.dashboard.figures.maps import Addresses, Layout, map_svg
from server.dashboard.maps.cells import Cells
from server.dashboard.maps.film import Film
from server.dashboard.maps.sheets import Sheet, Square

CELLS = Cells(np.ones((2, 2)), np.zeros((2, 2)), np.ones((2, 2)) * 2)
SHEET = Sheet(
    (Square("overlay", CELLS), Square("alone", CELLS), Square("overlay", None, "not <measured>")), 3, 50
)
LEFT_RIGHT = "the patient's left is on the right of the picture"


def film(laterality: str = LEFT_RIGHT) -> Film:
    return Film("f" * 64, "image", "all", 9, {"lungs": "M0.1 0.1L0.4 0.9Z", "disc": "M.5 .5h.1z"}, laterality)


def drawn(below: Film | None, where: Addresses | None = None) -> str:
    addresses = where or Addresses(
        sheet=lambda one: f"/s/{one.digest}", film=lambda digest, _: f"/f/{digest}"
    )
    return str(
        map_svg("A <title>", "What is seen", SHEET, Layout(("a", "b", "c")), below, "unit, n", addresses)
    )


def test_outlines_are_vectors_over_each_square() -> None:
    """Drawn once, used twice a square for rim and line, and not part of any picture."""
    text = drawn(film())
    assert text.count('d="M0.1 0.1L0.4 0.9Z"') == 1
    assert text.count('<use href="#outline-') == 6
    assert "<title>lungs</title>" in text


@pytest.mark.parametrize(
    ("said", "first", "second"),
    [(LEFT_RIGHT, "R", "L"), ("The patient's left is on the left of the picture", "L", "R")],
)
def test_the_patients_sides_are_marked_on_every_square(said: str, first: str, second: str) -> None:
    """As the record of the film says, at the side that it says."""
    text = drawn(film(said))
    left = re.findall(rf'<text class="side" x="[\d.]+" y="[\d.]+">{first}</text>', text)
    right = re.findall(rf'<text class="side end" x="[\d.]+" y="[\d.]+">{second}</text>', text)
    assert len(left) == len(right) == 3


@pytest.mark.parametrize("below", [film(""), None])
def test_sides_that_nobody_stated_are_not_guessed(below: Film | None) -> None:
    """A heart on the wrong side must not be explained away by a marker that we made up."""
    text = drawn(below)
    assert text.count("sides not stated") == 3
    assert ">R</text>" not in text


def test_the_film_lies_below_overlays_alone() -> None:
    """A map alone hides it; a square without a map shows it with the reason why there is no map."""
    text = drawn(film())
    assert text.count('<use href="#film-') == 2
    assert text.count('<use href="#sheet-') == 2
    assert text.count(f'href="/f/{"f" * 64}"') == text.count(f'href="/s/{SHEET.digest}"') == 1
    assert "not &lt;measured&gt;" in text


def test_only_addresses_differ_between_page_and_export() -> None:
    """The same bytes, with pictures inside in place of their addresses."""
    inside = Addresses(sheet=lambda _: "data:sheet", film=lambda *_: "data:film")
    text = (
        drawn(film(), inside)
        .replace("data:sheet", f"/s/{SHEET.digest}")
        .replace("data:film", f"/f/{'f' * 64}")
    )
    assert text == drawn(film())


def test_name_and_description_are_text() -> None:
    """Both are escaped, and both are read out."""
    text = drawn(film())
    assert "<title>A &lt;title&gt;</title><desc>What is seen</desc>" in text
    assert 'role="img"' in text
    assert 'aria-label="A &lt;title&gt;: What is seen"' in text
