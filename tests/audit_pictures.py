"""Films, maps and images for the records of `audit_records`: real PNGs of phantoms, and maps with a shape to see.

Everything comes from a seed and is no person's. Maps (grid, grid) are share of energy times uniform: their mean is 1.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from PIL import Image

from deploy.simulation.phantoms import STYLES, Phantom, SitePlan, draw_patient
from server.store.blobs import Blob
from server.store.record_kinds import Grid, Subject

Floats = npt.NDArray[np.float64]
SIDE_PX = 96
SUBJECTS: tuple[Subject, ...] = ("teacher", "student", "explainer", "random", "centre")
_STYLES = tuple(STYLES)
_DRAWN = 24  # different phantoms; more pictures than these are the same ones, exposed differently


@dataclass(frozen=True)
class Picture:
    """One reference image: film, lungs and lesions as PNG blobs; `lesions` None where the film shows none."""

    film: Blob
    lungs: Blob
    lesions: Blob | None


def picture(index: int, *, ill: bool) -> Picture:
    """Return the `index`-th reference image, with or without an opacity; no two have the same film."""
    phantom = _phantom(index % _DRAWN, ill=ill)
    exposed = np.clip(phantom.pixels.astype(np.int64) + index // _DRAWN, 0, 255).astype(np.uint8)
    lesions = _png(phantom.lesion.astype(np.uint8) * 255) if phantom.lesion.any() else None
    return Picture(_png(exposed), _png(phantom.lungs.astype(np.uint8) * 255), lesions)


def mean_film(style: int) -> tuple[Blob, dict[str, str], int]:
    """Return the mean film of one hospital's phantoms, the outlines of its lungs and the number of images."""
    chosen = [_phantom(index, ill=False) for index in range(style % 4, _DRAWN, 4)]
    mean = np.mean([one.pixels for one in chosen], axis=0)
    lungs = np.mean([one.lungs for one in chosen], axis=0) >= 0.5
    return _png((mean + 0.5).astype(np.uint8)), {"lungs": _outline(lungs)}, len(chosen)


def subject_map(
    subject: Subject, label: int, random: np.random.Generator, size: int, trained: float = 1.0
) -> Floats:
    """Return a map (size, size) with mean 1: `trained` from 0 to 1 moves the student from the middle to the lungs."""
    x, y = np.meshgrid(*(np.linspace(-1, 1, size),) * 2)
    middle = np.exp(-2 * (x * x + y * y))
    side = 1 if label % 2 else -1
    lungs = sum(np.exp(-10 * (x - s * 0.45) ** 2 - 3 * (y + 0.1) ** 2) for s in (-1, 1))
    spot = np.exp(-18 * ((x - side * 0.45) ** 2 + (y + 0.5 - 0.15 * (label % 7)) ** 2))
    noise = random.gamma(2.0, 0.5, (size, size))
    shapes: Mapping[Subject, Floats] = {
        "teacher": lungs + 1.5 * spot + 0.05 * noise,
        "student": trained * (0.7 * lungs + spot) + (1 - trained) * middle + 0.25 * noise,
        "explainer": lungs + 0.4 * middle + 0.2,
        "random": noise,
        "centre": middle,
    }
    return shapes[subject] / shapes[subject].mean()


def as_grid(values: Floats, num_images: int | None = None) -> Grid:
    """Return a map as records hold it; with the number of images behind it, with an interval for each cell."""
    rows, columns = values.shape
    bounds: dict[str, tuple[float, ...]] = {}
    if num_images is not None:
        half = 3.3 * (0.1 + 0.5 * values) / max(num_images, 1) ** 0.5  # 3.3: corrected for about 200 cells
        bounds = {"low": _rounded(np.clip(values - half, 0, None)), "high": _rounded(values + half)}
    return Grid(rows=rows, columns=columns, values=_rounded(values), **bounds)


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(np.round(values, 4).ravel().tolist())


@cache
def _phantom(index: int, *, ill: bool) -> Phantom:
    style = _STYLES[index % len(_STYLES)]
    plan = SitePlan(style, {"test": _DRAWN}, STYLES[style], prevalence=1.0 if ill else 0.0, max_images=1)
    return draw_patient(plan, "test", index, seed=7, size=SIDE_PX)[1][0]


def _png(pixels: npt.NDArray[np.uint8]) -> Blob:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=6)
    return Blob(file.getvalue(), "image/png")


def _outline(inside: npt.NDArray[np.bool_]) -> str:
    """Return an SVG path round each half of a mask: down its outer edge and up the other, from 0 to 1."""
    half = inside.shape[1] // 2
    return " ".join(_loop(part, first) for part, first in ((inside[:, :half], 0), (inside[:, half:], half)))


def _loop(part: npt.NDArray[np.bool_], first: int) -> str:
    rows = np.flatnonzero(part.any(axis=1))
    ends = [(np.flatnonzero(part[row])[[0, -1]] + first, row) for row in rows]
    corners = [(left, row) for (left, _), row in ends] + [
        (right + 1, row) for (_, right), row in reversed(ends)
    ]
    return "M" + "L".join(_point(corners)) + "Z"


def _point(corners: Sequence[tuple[int, int]]) -> Iterator[str]:
    for x, y in corners:
        yield f"{x / SIDE_PX:.3f} {y / SIDE_PX:.3f}"
