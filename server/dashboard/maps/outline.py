"""The outlines of one image's own masks as a layer: its region in blue, its lesions in white dashes."""

import io
from typing import Final

import numpy as np
from PIL import Image

from server.dashboard.maps.cells import Bools
from server.dashboard.maps.colours import Layer

REGION: Final = (86, 180, 233, 255)  # #56B4E9
LESIONS: Final = (255, 255, 255, 255)
_DASH_PX: Final = 3


def outlines(region: bytes | None, lesions: bytes | None, side: int) -> Layer:
    """Draw mask PNGs at `side` pixels -> (side, side, 4), clear but for their edges; OSError where one is no PNG."""
    drawn = np.zeros((side, side, 4), np.uint8)
    if region is not None:
        drawn[_edge(_inside(region, side))] = REGION
    if lesions is not None:
        dashes = np.add.outer(np.arange(side), np.arange(side)) // _DASH_PX % 2 == 0
        drawn[_edge(_inside(lesions, side)) & dashes] = LESIONS
    return drawn


def _inside(mask: bytes, side: int) -> Bools:
    with Image.open(io.BytesIO(mask)) as opened:
        grey = opened.convert("L").resize((side, side), Image.Resampling.BILINEAR)
    inside: Bools = np.asarray(grey) >= 128
    return inside


def _edge(inside: Bools) -> Bools:
    """Pixels inside that touch an outside pixel; the picture's own border is none."""
    padded = np.pad(inside, 1, mode="edge")
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core
