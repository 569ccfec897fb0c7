"""Synthetic chest X-rays of several hospitals: plans and a seed come in, a folder with a manifest goes out.

Every site has its own acquisition `Style`, share of patients with an opacity and, if wanted, a burned-in
marker that goes with the class (a shortcut for the audit to find). Lungs and opacities are known exactly.
Every patient is drawn from a generator of its own, (seed, site, split, number): leaving one out changes no
other picture. These are no people's images, so anything here may be sent anywhere.
"""

import csv
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from deploy.simulation.phantom_anatomy import Bools, Floats, Pose, draw_attenuation, draw_body, draw_opacities
from shared.data.patients import SPLITS
from shared.errors import ConfigError
from shared.processes.process_groups import worker_processes

CLASSES = ("normal", "opacity")
COLUMNS = ("file", "label", "site", "patient_id", "split", "mask", "lesion_mask")
GLYPHS: dict[str, tuple[str, ...]] = {
    "A": ("010", "101", "111", "101", "101"),
    "B": ("110", "101", "110", "101", "110"),
    "D": ("110", "101", "101", "101", "110"),
    "E": ("111", "100", "110", "100", "111"),
    "L": ("100", "100", "100", "100", "111"),
    "P": ("110", "101", "110", "100", "100"),
    "R": ("110", "101", "110", "101", "101"),
    "X": ("101", "101", "010", "101", "101"),
}


@dataclass(frozen=True)
class Style:
    """How a hospital's pictures look; lengths are shares of the picture's side."""

    gamma: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    s_curve: float = 0.0  # 0 straight, 1 strong film-like curve; always rising, never inverted
    blur: float = 0.0
    noise: float = 0.015  # standard deviation in units of the grey range
    collimation: float = 0.0  # mean width of the unexposed border
    magnification: float = 1.0
    tilt: float = 0.03  # standard deviation of the rotation, radians
    exposure_jitter: float = 0.04  # standard deviation of brightness between pictures


# Each hospital differs from the public pictures in its own way and by about as much, so that none of them covers the
# others: where one was much harder than the rest, what it learned alone was nearly all there was to learn.
STYLES: dict[str, Style] = {
    "public": Style(),
    "bedside": Style(
        gamma=0.82, contrast=0.8, brightness=0.06, blur=0.008, noise=0.025, collimation=0.05, tilt=0.09
    ),
    "film": Style(gamma=1.5, contrast=1.0, brightness=-0.04, s_curve=0.6, noise=0.04, magnification=0.86),
    "children": Style(gamma=1.25, contrast=1.2, collimation=0.02, magnification=0.78, tilt=0.05),
    "processed": Style(
        gamma=1.1,
        contrast=1.4,
        brightness=-0.04,
        s_curve=0.2,
        blur=0.008,
        noise=0.03,
        magnification=1.22,
        tilt=0.06,
    ),
}


@dataclass(frozen=True)
class Marker:
    """Burned-in letters: which, where, and how often for each class."""

    text: str = "R"
    corner: Literal["top_left", "top_right", "bottom_left", "bottom_right"] = "top_left"
    probability: Mapping[str, float] = field(default_factory=lambda: dict.fromkeys(CLASSES, 0.5))


@dataclass(frozen=True)
class SitePlan:
    """One hospital: its patients in each split, its style and how sick they are."""

    name: str
    num_patients: Mapping[str, int]  # split: patients
    style: Style = STYLES["public"]
    prevalence: float = 0.5  # share of patients with an opacity, kept exactly within each split
    marker: Marker | None = None
    amplitude: tuple[float, float] = (0.12, 0.45)  # peak of an opacity in units of the grey range
    max_images: int = 3  # pictures of one patient: 1 to this many


@dataclass(frozen=True)
class Phantom:
    """One picture with its truth: pixels (S, S) uint8, masks (S, S) bool."""

    pixels: npt.NDArray[np.uint8]
    lungs: Bools
    lesion: Bools


def draw_patient(
    plan: SitePlan, split: str, number: int, *, seed: int, size: int
) -> tuple[str, list[Phantom]]:
    """Draw all pictures of one patient of one site; returns the class and 1 to `plan.max_images` pictures.

    Depends on nothing but the arguments: no other patient is drawn or counted. Each quantity has a generator
    of its own, so a plan with another marker, style or prevalence draws the same anatomy in the same pose.
    """
    body_random, places, poses, film, marks = _generator(seed, plan.name, split, number).spawn(5)
    label = CLASSES[int((number + 1) * plan.prevalence + 1e-9) - int(number * plan.prevalence + 1e-9)]
    body = draw_body(body_random)
    pictures = []
    for _ in range(int(body_random.integers(1, plan.max_images + 1))):
        opacities = draw_opacities(places, body, plan.amplitude) if label == "opacity" else ()
        pose = Pose(
            shift_x=poses.normal(0, 0.03),
            shift_y=poses.normal(0, 0.03),
            rotation=poses.normal(0, plan.style.tilt),
            magnification=plan.style.magnification * poses.uniform(0.95, 1.05),
        )
        attenuation, lungs, lesion = draw_attenuation(body, opacities, pose, size)
        pixels = _expose(attenuation, plan.style, film)
        if plan.marker is not None and marks.uniform() < plan.marker.probability.get(label, 0.0):
            _burn_in(pixels, plan.marker)
        pictures.append(Phantom((pixels * 255 + 0.5).astype(np.uint8), lungs, lesion))
    return label, pictures


def write_phantoms(
    folder: Path,
    *,
    sites: Sequence[SitePlan],
    seed: int,
    size: int,
    progress: Callable[[int, int], None] | None = None,
    num_processes: int = 1,
) -> Path:
    """Write <site>/<class>/*.png, masks/, lesions/ and manifest.csv; returns the manifest's path.

    `progress(done, total)` is called with counts of patients; more than one process pays off above about
    1,000 pictures. Masks are PNG 0/255; `lesion_mask` is empty
    for the class normal. Errors: `ConfigError` for a plan that makes no sense.
    """
    for plan in sites:
        _check(plan)
        for label in CLASSES:
            (folder / plan.name / label).mkdir(parents=True, exist_ok=True)
        (folder / "masks" / plan.name).mkdir(parents=True, exist_ok=True)
        (folder / "lesions" / plan.name).mkdir(parents=True, exist_ok=True)
    jobs = [
        (plan, split, n) for plan in sites for split, count in plan.num_patients.items() for n in range(count)
    ]
    rows: list[tuple[str, ...]] = []
    for done, found in enumerate(_each(partial(_write_patient, folder, seed, size), jobs, num_processes), 1):
        rows.extend(found)
        if progress is not None:
            progress(done, len(jobs))
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return manifest


def _each(
    write: Callable[[tuple[SitePlan, str, int]], list[tuple[str, ...]]],
    jobs: list[tuple[SitePlan, str, int]],
    num_processes: int,
) -> Iterator[list[tuple[str, ...]]]:
    if num_processes == 1:
        yield from map(write, jobs)
        return
    # fork: a spawned worker would first import the caller, torch included, which takes longer than the drawing;
    # the workers touch numpy and Pillow only, which hold no lock that a fork could copy
    with worker_processes(num_processes, "fork") as pool:
        yield from pool.map(write, jobs, chunksize=32)


def _write_patient(
    folder: Path, seed: int, size: int, job: tuple[SitePlan, str, int]
) -> list[tuple[str, ...]]:
    plan, split, number = job
    label, pictures = draw_patient(plan, split, number, seed=seed, size=size)
    patient = f"{plan.name}-{split}-{number:05d}"
    rows: list[tuple[str, ...]] = []
    for i, picture in enumerate(pictures):
        name = f"{patient}-{i}.png"
        file, mask = f"{plan.name}/{label}/{name}", f"masks/{plan.name}/{name}"
        lesion = f"lesions/{plan.name}/{name}" if picture.lesion.any() else ""
        _write_png(picture.pixels, folder / file)
        _write_png(picture.lungs.astype(np.uint8) * 255, folder / mask)
        if lesion:
            _write_png(picture.lesion.astype(np.uint8) * 255, folder / lesion)
        rows.append((file, label, plan.name, patient, split, mask, lesion))
    return rows


def _write_png(pixels: npt.NDArray[np.uint8], path: Path) -> None:
    Image.fromarray(pixels).save(path, compress_level=1)


def _generator(seed: int, *parts: object) -> np.random.Generator:
    key = hashlib.blake2b("\0".join(map(str, (seed, *parts))).encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(key, "little"))


def _expose(attenuation: Floats, style: Style, random: np.random.Generator) -> Floats:
    """Turn attenuation into grey values 0..1 in a hospital's style; every step keeps bright things bright."""
    size = attenuation.shape[0]
    grey = np.clip(attenuation, 0, None) ** style.gamma
    grey = 0.5 + style.contrast * (grey - 0.5) + style.brightness + random.normal(0, style.exposure_jitter)
    clipped = np.clip(grey, 0, 1)
    grey = (1 - style.s_curve) * grey + style.s_curve * clipped * clipped * (3 - 2 * clipped)
    if style.blur:
        grey = ndimage.gaussian_filter(grey, style.blur * size)
    grey = grey + style.noise * random.standard_normal(grey.shape, dtype=np.float32)
    if style.collimation:
        top, bottom, left, right = (style.collimation * size * random.uniform(0.3, 1.7, 4)).astype(int)
        shutter = np.full_like(grey, 0.03)
        shutter[top : size - bottom, left : size - right] = grey[top : size - bottom, left : size - right]
        grey = shutter
    exposed: Floats = np.clip(grey, 0, 1).astype(np.float32)
    return exposed


def _burn_in(grey: Floats, marker: Marker) -> None:
    """Write the marker's letters into a corner, in place."""
    size = grey.shape[0]
    rows = ["0".join(GLYPHS[letter][i] for letter in marker.text) for i in range(5)]
    letters = np.array([[int(dot) for dot in row] for row in rows], dtype=bool)
    letters = letters.repeat(max(1, size // 64), axis=0).repeat(max(1, size // 64), axis=1)
    high, wide = letters.shape
    gap = max(2, size // 24)
    top = gap if marker.corner.startswith("top") else size - gap - high
    left = gap if marker.corner.endswith("left") else size - gap - wide
    grey[top : top + high, left : left + wide][letters] = 0.97


def _check(plan: SitePlan) -> None:
    if not 0 <= plan.prevalence <= 1:
        raise ConfigError(f"prevalence of {plan.name} is {plan.prevalence:g}, allowed is 0 to 1; correct it")
    if not set(plan.num_patients) <= set(SPLITS) or any(num < 0 for num in plan.num_patients.values()):
        raise ConfigError(
            f"num_patients of {plan.name} is {dict(plan.num_patients)}, allowed is 0 or more for each of "
            f"{', '.join(SPLITS)}; correct it"
        )
    unknown = set(plan.marker.text) - set(GLYPHS) if plan.marker else set()
    if unknown:
        raise ConfigError(
            f"marker of {plan.name} uses {''.join(sorted(unknown))}, allowed is {''.join(GLYPHS)}; change it"
        )
