"""Class folders: a tree of images comes in, rows go out. Nothing of it leaves the hospital.

Layouts: <class>/*, <split>/<class>/*, COVID-QU-Ex (<split>/<class>/images/* with "lung masks" beside) and
LC25000 (lung_image_sets/<class>/*). The class is the nearest folder, the split any folder above it named
train, val or test. A `patients.csv` at the root (file, patient_id) says which images are one person's.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from shared.config import Task
from shared.data.records import IMAGE_SUFFIXES, Row
from shared.errors import DataError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
MASK_FOLDERS = ("lung masks", "masks")  # beside "images"; the first that exists for the class counts
NOT_IMAGES = frozenset({"lung masks", "masks", "infection masks", "lesions"})
# The second half of COVID-QU-Ex repeats images of the first with infection masks.
REPEATED_PART = "Infection Segmentation Data"
LC25000_CLASSES = frozenset({"lung_aca", "lung_n", "lung_scc", "colon_aca", "colon_n"})


def read_folder(root: Path, task: Task | None = None) -> list[Row]:  # noqa: ARG001 - the readers' common shape
    """Read a tree of class folders; without `patients.csv` the patient is <class>/<file stem>.

    An image of COVID-QU-Ex always has its mask beside it; that it exists is looked at when it is loaded.
    Errors: `DataError` for images outside a class folder, missing from `patients.csv` or in it under two patients.
    """
    grouping = _grouping(root)
    return [_row(root, path, grouping) for path in _images(root)]


def folder_notes(root: Path, task: Task) -> tuple[str, ...]:  # noqa: ARG001 - the readers' common shape
    """Say what every report about this tree must tell."""
    notes = []
    folders = {path.parent.name for path in _images(root)}
    if _grouping(root) is None:
        notes.append(
            "The folder names no patients (no patients.csv): each image counts as a patient, and privacy is "
            "then for one image."
        )
        if folders & LC25000_CLASSES:
            notes.append(
                "LC25000 holds about 20 turned and mirrored copies of each of 1,250 tiles: without a "
                "grouping by source tile in patients.csv, relatives stand on both sides of any split and "
                "scores are too high."
            )
    if (root / REPEATED_PART).is_dir():
        notes.append(f'"{REPEATED_PART}" repeats images and was left out.')
    return tuple(notes)


def _images(root: Path) -> Iterator[Path]:
    for folder, below, names in os.walk(root):
        below[:] = sorted(
            name
            for name in below
            if name.lower() not in NOT_IMAGES and name != REPEATED_PART and name[0] != "."
        )
        for name in sorted(names):
            if Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(folder) / name


def _row(root: Path, path: Path, grouping: dict[str, str] | None) -> Row:
    relative = path.relative_to(root)
    above = relative.parts[:-1]
    paired = bool(above) and above[-1].lower() == "images"
    if paired:
        above = above[:-1]
    if not above or above[-1].lower() in SPLIT_NAMES:
        raise DataError(
            f"{path} stands in no class folder, needed is <class>/<image> or <split>/<class>/<image>; move it"
        )
    split = next((SPLIT_NAMES[part.lower()] for part in reversed(above) if part.lower() in SPLIT_NAMES), "")
    patient_id = f"{above[-1]}/{path.stem}"
    if grouping is not None:
        if relative.as_posix() not in grouping:
            raise DataError(f"patients.csv has no row for {relative.as_posix()}, needed is one each; add it")
        patient_id = grouping[relative.as_posix()]
    return Row(path, above[-1], "", patient_id, split, _mask(path) if paired else None)


def _mask(image: Path) -> Path | None:
    """Name the mask that must stand beside an `images` folder when its class has a mask folder."""
    for name in MASK_FOLDERS:
        if (image.parent.parent / name).is_dir():
            return image.parent.parent / name / f"{image.stem}.png"
    return None


def _grouping(root: Path) -> dict[str, str] | None:
    path = root / "patients.csv"
    if not path.is_file():
        return None
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            table, columns = list(reader), set(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8; save it as such") from error
    if not {"file", "patient_id"} <= columns:
        raise DataError(f"{path} lacks a column, needed are file and patient_id; add it")
    grouping = {row["file"]: row["patient_id"].strip() for row in table}
    if not all(grouping.values()):
        raise DataError(f"patient_id is empty in a row of {path}, needed is an identifier; fill it in")
    num_spread = len({row["file"] for row in table if row["patient_id"].strip() != grouping[row["file"]]})
    if num_spread:
        raise DataError(
            f"file stands with more than one patient_id for {num_spread} files of {path}, allowed is one patient a "
            "file; correct their rows"
        )
    return grouping
