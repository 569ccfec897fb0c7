"""Pictures of one image and of the maps about it, on one colour scale for every map of every study.

In: an image, masks and maps of equal size. Out: RGB arrays and PNG files with deterministic bytes. A picture
shows one person's image: the hub draws public reference images only.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from shared.explain import scale
from shared.explain.scale import BRIGHTEST, CONTOURS, DIMMEST, FULL_SCALE, NEARLY_UNIFORM, STRONGEST

Picture = npt.NDArray[np.uint8]  # (side, side, 3)
Floats = npt.NDArray[np.float64]
SIDE_PX = 192
GAP_PX = 4
HUE = np.array(scale.HUE)
OUTLINE = np.array([86.0, 180.0, 233.0])  # #56B4E9, the region mask


def film(pixels: npt.NDArray[np.uint8], side: int = SIDE_PX) -> Picture:
    """Return the image (H, W, 3) uint8 at `side` pixels, bilinear."""
    return _rounded(_resized(pixels, side))


def film_with_outline(pixels: npt.NDArray[np.uint8], region: Tensor | None, side: int = SIDE_PX) -> Picture:
    """Return the image with the outline of its region mask (H, W) bool; without a mask, the image alone."""
    drawn = _resized(pixels, side)
    if region is not None:
        inside = F.interpolate(region[None, None].double(), (side, side))[0, 0].bool().numpy()
        drawn[_edge(inside)] = OUTLINE
    return _rounded(drawn)


def film_with_map(pixels: npt.NDArray[np.uint8], found: Tensor | None, side: int = SIDE_PX) -> Picture:
    """Return the dimmed film under a map (H, W), at least 0, of any unit.

    The hue's opacity is the share of energy, times uniform: 1 is what a map that is equal everywhere has, 4
    and more is full. Contours hold 50 % (solid) and 80 % (dashed) of the energy; nearly uniform maps get
    none. A map without evidence leaves the dimmed film bare.
    """
    light = _resized(pixels, side).mean(2, keepdims=True) / 255
    drawn = np.repeat(255 * (DIMMEST + (BRIGHTEST - DIMMEST) * light), 3, axis=2)
    if found is None or not bool(found.sum() > 0):
        return _rounded(drawn)
    shares = times_uniform(found, side)
    opacity = STRONGEST * (shares / FULL_SCALE).clip(0, 1)[:, :, None]
    drawn = drawn * (1 - opacity) + HUE * opacity
    for share, dash in zip(CONTOURS, (0, 3), strict=True):
        inside = shares >= energy_threshold(shares, share)
        if inside.mean() > NEARLY_UNIFORM * share:
            continue  # the line would give shape to a map that has none
        line = _edge(inside)
        if dash:
            line &= np.add.outer(np.arange(side), np.arange(side)) // dash % 2 == 0
        drawn[line] = 255.0
    return _rounded(drawn)


def scale_bar(width: int = SIDE_PX, height: int = 14) -> Picture:
    """Return the scale of every map, from 0 at the left to 4 times uniform and more at the right."""
    grey = np.full((height, width, 3), 255 * (DIMMEST + BRIGHTEST) / 2)
    opacity = STRONGEST * np.linspace(0, 1, width)[None, :, None]
    return _rounded(grey * (1 - opacity) + HUE * opacity)


def panel(*pictures: Picture) -> Picture:
    """Return pictures of one height side by side with white gaps; captions belong into the page around it."""
    gap = np.full((pictures[0].shape[0], GAP_PX, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (picture, gap)]
    return np.concatenate(parts[:-1], axis=1)


def write_png(picture: Picture, path: Path) -> None:
    """Write a picture; equal pictures give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(path, format="PNG", compress_level=6)


def times_uniform(found: Tensor, side: int) -> Floats:
    """Map (H, W) with evidence -> (side, side), bilinear, mean 1."""
    large = F.interpolate(found[None, None].double(), (side, side), mode="bilinear")[0, 0]
    shares: Floats = (large / large.mean()).numpy()
    return shares


def energy_threshold(shares: Floats, share: float) -> float:
    """Value above which, and at which, lie at least `share` of the energy: the smallest such region."""
    falling = np.sort(shares, axis=None)[::-1]
    total = falling.cumsum()
    return float(falling[np.searchsorted(total, share * total[-1])])


def _resized(pixels: npt.NDArray[np.uint8], side: int) -> Floats:
    image = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
    resized: Floats = F.interpolate(image, (side, side), mode="bilinear")[0].permute(1, 2, 0).numpy().copy()
    return resized


def _edge(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels inside that touch an outside pixel; the picture's own border is no edge."""
    padded = np.pad(inside, 1, mode="edge")
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def _rounded(values: Floats) -> Picture:
    return (values.clip(0, 255) + 0.5).astype(np.uint8)
