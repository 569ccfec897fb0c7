"""What is there to see of a hospital's images before a study begins? Read once, counted, and the telling ones chosen.

In: `site.yaml` and the study. Out: looks (numbers about each image) for the page that `client/preview/page.py` makes.
Nothing of it leaves: it is for the hospital's own eyes, and nothing is written here.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from client.preview.outliers import FAR, robust_z
from client.site.patient_partitions import known_partitions
from client.site.site import Site
from shared.config.study import StudyConfig, Task
from shared.data.burned_in_text import Box, suspects
from shared.data.dicom.picture import is_dicom
from shared.data.image_problems import ImageError
from shared.data.images import fitted, fitted_mask, open_image
from shared.data.patients import ImageRecord
from shared.data.same_pictures import same_pictures
from shared.errors import ConfigError, DataError

Progress = Callable[[str, int, int], None]
TEXT = ("image_text", "image_burned_in")  # problems of pictures that can be shown all the same


@dataclass(frozen=True)
class Look:
    """What one reading says of one image; `number` is the patient's place in the sorted list, from 1."""

    number: int
    image: int  # of `num_images`, from 1
    num_images: int
    part: str
    record: ImageRecord
    problem: str = ""  # a word of shared/data/image_problems.py
    brightness: float = float("nan")  # mean of the model's pixels, 0 to 255
    contrast: float = float("nan")  # their standard deviation
    width: int = 0
    height: int = 0
    lines: tuple[Box, ...] = ()

    @property
    def readable(self) -> bool:
        """Whether there is a picture, used or not."""
        return self.width > 0


@dataclass(frozen=True)
class Outlier:
    """An image far from the others, by one measure."""

    look: Look
    score: float


@dataclass(frozen=True)
class Seen:
    """All that the page tells, before pictures are drawn; lists are worst first."""

    site: str
    study: StudyConfig
    looks: tuple[Look, ...]
    sample: dict[tuple[int, str], list[Look]]  # by label and part of the data
    outliers: dict[str, list[Outlier]]  # by measure
    suspects: list[Look]
    problems: dict[str, list[Look]]  # by kind
    left_out: dict[str, int]


def see(site: Site, study: StudyConfig, films: int, progress: Progress) -> Seen:
    """Read every image once and choose `films` for each class and part of the data, outliers and suspects.

    Errors: `DataError` when the source or its labels cannot be read.
    """
    found = site.records(study)
    parts = known_partitions(found.patients, site.config.state_dir)
    order = [(number, part, patient) for number, (part, patient) in enumerate(parts, 1)]
    total = sum(len(patient.images) for _, _, patient in order)
    looks: list[Look] = []
    for number, part, patient in order:
        for place, record in enumerate(patient.images, 1):
            blank = Look(number, place, len(patient.images), part, record)
            looks.append(look_at(blank, study.task))
            progress("Reading images", len(looks), total)
    problems: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        if look.problem:
            problems[look.problem].append(look)
    same = {record for one in same_pictures(found.patients) for record in one.records}
    if copies := [look for look in looks if look.record in same]:
        problems["same_picture"] = copies
    return Seen(
        site.config.name,
        study,
        tuple(looks),
        _sample(looks, films),
        outliers_of(looks),
        sorted((one for one in looks if one.lines or one.problem in TEXT), key=_most_writing),
        dict(sorted(problems.items())),
        found.problems,
    )


def look_at(look: Look, task: Task) -> Look:
    """Read one image as the model gets it; a picture refused for its text is looked at all the same."""
    record = look.record
    image, problem = _opened(record)
    if image is None:
        return replace(look, problem=problem)
    pixels = fitted(image, task)
    try:
        fitted_mask(record, image, task)
        fitted_mask(record, image, task, "lesion_mask")
    except ImageError as error:
        problem = problem or error.kind
    searched = not problem and record.text_rule == "refuse" and is_dicom(record.file)
    return replace(
        look,
        problem=problem,
        brightness=float(pixels.mean()),
        contrast=float(pixels.std()),
        width=image.width,
        height=image.height,
        lines=() if searched else tuple(suspects(np.asarray(image.convert("L")))),
    )


def _opened(record: ImageRecord) -> tuple[Image.Image | None, str]:
    """Open a picture, and say why it is refused; None where there is no picture."""
    try:
        return open_image(record), ""
    except DataError as error:
        problem = error.kind if isinstance(error, ImageError) else "image_unreadable"
        if problem not in TEXT:
            return None, problem
    image, more = _opened(replace(record, text_rule="allow"))
    return image, more or problem


def outliers_of(looks: Sequence[Look]) -> dict[str, list[Outlier]]:
    """Return, by measure, the images far from the others, worst first."""
    found = [look for look in looks if look.readable]
    measures = {
        "brightness": [look.brightness for look in found],
        "contrast": [look.contrast for look in found],
        "size": [np.log(look.width * look.height) for look in found],
        "shape": [np.log(look.width / look.height) for look in found],
    }
    return {name: _far(found, robust_z(np.array(values))) for name, values in measures.items()}


def files_of(site: Site, study: StudyConfig, number: int) -> list[Path]:
    """Return the files of the patient that the page calls `number`."""
    patients = site.patients(study)
    if not 0 < number <= len(patients):
        raise ConfigError(f"--who is {number}, allowed is 1 to {len(patients)}; take a number from the page")
    return [record.file.resolve() for record in patients[number - 1].images]


def num_patients(looks: Sequence[Look]) -> int:
    """Count the patients behind some looks."""
    return len({look.number for look in looks})


def images_per_patient(looks: Sequence[Look]) -> dict[int, int]:
    """Return how many patients have so many images."""
    return dict(sorted(Counter(look.num_images for look in looks if look.image == 1).items()))


def _sample(looks: Sequence[Look], films: int) -> dict[tuple[int, str], list[Look]]:
    """Choose by a hash of the image, so that who else is there changes nothing; other patients before second images."""
    cells: dict[tuple[int, str], list[Look]] = defaultdict(list)
    for look in looks:
        if look.readable and not look.problem:
            cells[look.record.label, look.part].append(look)
    return {cell: sorted(found, key=_draw)[:films] for cell, found in cells.items()}


def _draw(look: Look) -> tuple[int, bytes]:
    name = f"{look.record.patient_id}\0{look.record.file.name}\0{look.record.index}"
    return look.image, hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest()


def _most_writing(look: Look) -> tuple[int, int, int]:
    return -len(look.lines), look.number, look.image


def _far(looks: Sequence[Look], scores: np.typing.NDArray[np.float64]) -> list[Outlier]:
    far = [Outlier(look, float(score)) for look, score in zip(looks, scores, strict=True) if abs(score) > FAR]
    return sorted(far, key=lambda one: -abs(one.score))
