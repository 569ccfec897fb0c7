"""Pictures of a hospital's images as data URIs, for its own page alone.

In: a look at an image and the task. Out: PNG bytes inside the page; nothing is fetched and nothing is written here. A
picture shows one person's image.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from client.preview.survey import Look
from shared.config.study import Task
from shared.data.burned_in_text import Box
from shared.data.images import fitted_mask, load_pixels, open_image

OUTLINE_SIDE_PX = 288  # drawn finer than the film, so that a thin line stays thin
REGION, LESION = (86, 180, 233), (230, 159, 0)  # blue and orange that every kind of colour vision tells apart
_OUTLINES: tuple[tuple[Literal["mask", "lesion_mask"], tuple[int, int, int]], ...] = (
    ("mask", REGION),
    ("lesion_mask", LESION),
)
WHOLE_SIDE_PX = 640  # of a picture shown whole for its writing
CROP_MARGIN = 1.2  # around a line of writing, in its heights
CROP_WIDTH_PX = 960  # at most; letters of a large film need no more


@dataclass(frozen=True)
class Film:
    """One image as the model sees it, and the outlines of its masks."""

    look: Look
    uri: str
    outline: str = ""


@dataclass(frozen=True)
class Written:
    """One image with suspected writing: whole, where the lines are (shares of its sides), and each line enlarged."""

    look: Look
    uri: str
    places: tuple[tuple[float, float, float, float], ...]  # left, top, width, height in percent
    crops: tuple[str, ...]


def film(look: Look, task: Task) -> Film:
    """Draw an image pixel for pixel as `load_pixels` gives it; what a text rule refuses is shown all the same."""
    shown = replace(look.record, text_rule="allow")
    pixels = load_pixels(shown, task)
    if look.problem.startswith("mask"):
        return Film(look, _uri(_plain(pixels)))
    image = open_image(shown) if look.record.mask or look.record.lesion_mask else None
    outline = Image.new("RGBA", (OUTLINE_SIDE_PX, OUTLINE_SIDE_PX))
    for which, colour in _OUTLINES:
        mask = None if image is None else fitted_mask(look.record, image, task, which)
        if mask is not None:
            outline.paste((*colour, 255), mask=Image.fromarray(_edge(mask)))
    return Film(look, _uri(_plain(pixels)), "" if image is None else _uri(outline.quantize(4)))


def written(look: Look) -> Written:
    """Show a picture at reading size, with its suspected lines."""
    image = open_image(replace(look.record, text_rule="allow")).convert("L")
    whole = image.copy()
    whole.thumbnail((WHOLE_SIDE_PX, WHOLE_SIDE_PX))
    lines = _merged(look.lines)
    places = tuple(
        (100 * x0 / image.width, 100 * y0 / image.height, 100 * (x1 - x0) / image.width, 100 * (y1 - y0) / image.height)
        for x0, y0, x1, y1 in lines
    )  # fmt: skip
    return Written(look, _uri(whole), places, tuple(_uri(_crop(image, box)) for box in lines))


def _merged(boxes: Sequence[Box]) -> list[Box]:
    """Join boxes that overlap by more than half of the smaller: one line can be found as bright and as dark strokes."""
    found: list[Box] = []
    for box in sorted(boxes, key=lambda one: (one[1], one[0])):
        twin = next((other for other in found if _overlap(box, other) > 0.5), None)
        if twin is None:
            found.append(box)
            continue
        found.remove(twin)
        left, top, right, bottom = zip(box, twin, strict=True)
        found.append((min(left), min(top), max(right), max(bottom)))
    return found


def _overlap(one: Box, other: Box) -> float:
    """Return the common area over the smaller area."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return max(0, width) * max(0, height) / max(1, smaller)


def _crop(image: Image.Image, box: Box) -> Image.Image:
    left, top, right, bottom = box
    margin = round(CROP_MARGIN * (bottom - top))
    around = (left - margin, top - margin, right + margin, bottom + margin)
    part = image.crop(
        (max(0, around[0]), max(0, around[1]), min(image.width, around[2]), min(image.height, around[3]))
    )
    part.thumbnail((CROP_WIDTH_PX, CROP_WIDTH_PX))
    return part


def _edge(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """Return the rim (OUTLINE_SIDE_PX twice), 255 on it."""
    side = (OUTLINE_SIDE_PX, OUTLINE_SIDE_PX)
    large = (
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(side, Image.Resampling.BICUBIC)) > 127
    )
    rim: npt.NDArray[np.uint8] = (large & ~ndimage.binary_erosion(large, iterations=2)).astype(np.uint8) * 255
    return rim


def _plain(pixels: npt.NDArray[np.uint8]) -> Image.Image:
    """Drop two of three equal channels: the same picture in a third of the bytes."""
    grey = pixels[:, :, 0]
    return Image.fromarray(grey if (pixels == grey[:, :, None]).all() else pixels)


def _uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
