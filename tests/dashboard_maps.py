"""Maps as a reader of the dashboard sees them: squares cut out of the pictures that a page names."""

import io
import re
from html import unescape

import numpy as np
from PIL import Image

from tests.dashboard_site import TestClient


def figure_of(text: str, title: str) -> str:
    """Return the SVG whose title begins so."""
    return next(
        one
        for one in re.findall(r"<svg class=\"fig.*?</figure>", text, re.DOTALL)
        if f"<title>{title}" in one
    )


def squares(client: TestClient, figure: str) -> list[np.ndarray]:
    """Cut the squares that a figure shows out of its picture, as RGBA, in their order."""
    addresses = dict(re.findall(r'<image id="(sheet-\w+)" href="([^"]+)"', figure))
    found = []
    for left, top, side, name in re.findall(
        r'viewBox="(\d+) (\d+) (\d+) \d+"><use href="#(sheet-\w+)"', figure
    ):
        answer = client.get(unescape(addresses[name]))
        assert answer.status_code == 200
        sheet = np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGBA"))
        x, y, size = int(left), int(top), int(side)
        found.append(sheet[y : y + size, x : x + size])
    return found


def colour_at(square: np.ndarray, row: int, column: int, cells: int = 7) -> list[int]:
    """Return the colour a little off the middle of a cell, where no line runs."""
    step = square.shape[0] / cells
    return list(square[int((row + 0.5) * step) + 4, int((column + 0.5) * step) + 4])
