"""What maps are laid over: single films, the mean film of a frame, and outlines in it.

In: pixels and masks of public reference images. Out: PNG bytes, equal for equal pictures, and SVG paths.
"""

import io
from dataclasses import dataclass, field
from typing import Final

import contourpy
import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from server.store.intake.outbox import Blob
from shared.explain import regions
from shared.explain.frames import Box, Frame

Floats = npt.NDArray[np.float64]
SIDE_PX: Final = 192  # of a mean film
_INSIDE: Final = 0.5  # share of images on which a point lies in a region
_DIGITS: Final = 3
_STRAIGHT: Final = 1e-7  # twice the area of a triangle, in shares of the picture


@dataclass
class MeanFilm:
    """Sums over films that were brought into one frame; memory does not grow with their number."""

    frame: Frame
    num_images: int = 0
    _film: Floats = field(default_factory=lambda: np.zeros((SIDE_PX, SIDE_PX)))
    _covered: Floats = field(default_factory=lambda: np.zeros((SIDE_PX, SIDE_PX)))
    _masks: dict[str, Floats] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _edges: Floats = field(default_factory=lambda: np.zeros(4))  # left, upper, right, lower: summed

    def add(self, pixels: npt.NDArray[np.uint8], box: Box, masks: dict[str, npt.NDArray[np.bool_]]) -> None:
        """Add a film (H, W, 3) with regions by name (H, W); `box` is what comes to lie in the frame's box."""
        grey = pixels.mean(axis=2)
        self._film += into_frame(grey, box, self.frame)
        self._covered += into_frame(np.ones_like(grey), box, self.frame)
        for name, mask in masks.items():
            seen = into_frame(mask.astype(np.float64), box, self.frame)
            self._masks[name] = self._masks.get(name, 0) + seen
            self._counts[name] = self._counts.get(name, 0) + 1
        self._edges += edges(box, self.frame)
        self.num_images += 1

    def picture(self) -> Blob:
        """Return the mean of the films where they reach, black elsewhere, as a grey PNG."""
        mean = self._film / np.maximum(self._covered, 1e-9)
        return png((np.where(self._covered > 0.01, mean, 0) + 0.5).clip(0, 255).astype(np.uint8))

    def outlines(self) -> dict[str, str]:
        """Return an SVG path for each region, and for border ring and corners of the films, on average.

        A region is drawn round what lies in it on at least half of its films; what lies beyond the frame is cut off.
        """
        paths = {name: outline(total / self._counts[name]) for name, total in self._masks.items()}
        paths |= rim(self._edges / max(self.num_images, 1))
        return {name: path for name, path in paths.items() if path}


def edges(box: Box, frame: Frame) -> Floats:
    """Return where an image's left, upper, right and lower edge come to lie in the frame."""
    own, common = box, frame.box
    wide = (common.right - common.left) / (own.right - own.left)
    high = (common.bottom - common.top) / (own.bottom - own.top)
    left, top = common.left - own.left * wide, common.top - own.top * high
    return np.array([left, top, left + wide, top + high])


def rim(film: Floats) -> dict[str, str]:
    """Return the paths of border ring and corners, which the audit measures, of a film with these edges."""
    left, top, right, bottom = film
    ring, box = regions.BORDER_WIDTH, regions.CORNER_WIDTH
    wide, high = right - left, bottom - top
    inner = _rectangle(left + ring * wide, top + ring * high, right - ring * wide, bottom - ring * high)
    outer = _rectangle(left, top, right, bottom)
    corners = [
        _rectangle(x, y, x + box * wide, y + box * high)
        for y in (top, bottom - box * high)
        for x in (left, right - box * wide)
    ]
    border = f"{outer} {inner}" if outer != inner else ""
    return {"border": border, "corners": " ".join(one for one in corners if one)}


def _rectangle(left: float, top: float, right: float, bottom: float) -> str:
    """Return the path of what of a rectangle lies in the frame; empty where nothing does."""
    left, top, right, bottom = np.round(np.clip((left, top, right, bottom), 0, 1), _DIGITS).tolist()
    if right <= left or bottom <= top:
        return ""
    return "M" + "L".join(f"{x:.{_DIGITS}f} {y:.{_DIGITS}f}" for x, y in (
        (left, top), (right, top), (right, bottom), (left, bottom)
    )) + "Z"  # fmt: skip


def into_frame(picture: Floats, box: Box, frame: Frame, side: int = SIDE_PX) -> Floats:
    """Move and stretch a picture (H, W) so that its box becomes the frame's (side, side), bilinear; zero outside."""
    own, common = box, frame.box
    at = (np.arange(side) + 0.5) / side
    x = own.left + (at - common.left) * (own.right - own.left) / (common.right - common.left)
    y = own.top + (at - common.top) * (own.bottom - own.top) / (common.bottom - common.top)
    grid = torch.from_numpy(np.stack(np.meshgrid(2 * x - 1, 2 * y - 1), axis=-1))[None]
    moved = F.grid_sample(torch.from_numpy(picture)[None, None], grid, align_corners=False)
    result: Floats = moved[0, 0].numpy()
    return result


def outline(share: Floats) -> str:
    """Return an SVG path, in coordinates from 0 to 1, round where a picture (H, W) is at least one half."""
    height, width = share.shape
    padded = np.pad(share, 1)  # so that what touches the border is closed
    lines = contourpy.contour_generator(z=padded).lines(_INSIDE)
    parts = []
    for line in lines:
        points = _bends((np.asarray(line)[:-1] - 0.5) / (width, height)).clip(0, 1)
        parts.append("M" + "L".join(f"{x:.{_DIGITS}f} {y:.{_DIGITS}f}" for x, y in points) + "Z")
    return " ".join(parts)


def _bends(points: Floats) -> Floats:
    """Leave out points (N, 2) of a closed line at which it goes straight on."""
    back, on = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    turns = np.abs(back[:, 0] * on[:, 1] - back[:, 1] * on[:, 0]) > _STRAIGHT
    return points[turns] if turns.sum() > 2 else points


def png(pixels: npt.NDArray[np.uint8] | npt.NDArray[np.bool_]) -> Blob:
    """Return a picture (H, W) as a grey PNG, a mask as one of one bit a pixel."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return Blob(file.getvalue(), "image/png")
