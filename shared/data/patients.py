"""Images grouped by patient: what every reader returns and everything else in `shared/data` takes.

Nothing of a record leaves the hospital: not the path, not the identifier, not the label.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shared.config.naming import TextRule
from shared.errors import DataError

SPLITS = ("train", "val", "test")
IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff"}
)  # what Pillow is asked to open


@dataclass(frozen=True)
class ImageRecord:
    """One image and where its truth stands."""

    file: Path  # an .npz for MedMNIST, then with `index`
    label: int  # index into task.classes
    site: str
    patient_id: str
    split: str  # "train", "val", "test", or "" when the source has none
    mask: Path | None  # region mask (lungs or lesions), 0/255, same size as the image
    index: int | None = None  # row inside an .npz
    lesion_mask: Path | None = None  # beside a lung mask, where the source has both
    text_rule: TextRule = "refuse"  # DICOM only


@dataclass(frozen=True)
class Patient:
    """All images of one person at one site, sorted by file name whoever else is there."""

    patient_id: str
    images: tuple[ImageRecord, ...]

    @property
    def site(self) -> str:
        """The one site of this patient."""
        return self.images[0].site

    @property
    def split(self) -> str:
        """The one split of this patient; "" when the source has none."""
        return self.images[0].split

    @property
    def label(self) -> int:
        """The label of the first image; a patient's other eye may have another."""
        return self.images[0].label


@dataclass(frozen=True)
class Row:
    """One image as a reader finds it, before labels are matched with the study's classes."""

    file: Path
    label: str
    site: str
    patient_id: str
    split: str
    mask: Path | None = None
    index: int | None = None
    lesion_mask: Path | None = None
    text_rule: TextRule = "refuse"
    spelt: str = ""  # the patient's identifier in its plain spelling; "" where a file's name stands for one
    picture: str = ""  # the same for files of one picture; "" where the file itself says which it is

    def with_label(self, label: int) -> ImageRecord:
        """Return the record of this image under the study's class number `label`."""
        return ImageRecord(
            self.file,
            label,
            self.site,
            self.patient_id,
            self.split,
            self.mask,
            self.index,
            self.lesion_mask,
            self.text_rule,
        )


@dataclass(frozen=True)
class LeftOut:
    """A record that cannot be used, or is not meant to be; a reader gives it in place of a `Row`.

    `patient_id` is whose record it is, where that patient then contributes nothing at a hospital; "" where nobody's or
    where the patient's other records count all the same. Stays at the site.
    """

    kind: str  # a word of `shared/data/image_problems.py`
    patient_id: str = ""
    site: str = ""
    file: Path | None = None
    refusal: str = ""  # the sentence of a strict reading; "" where that passes the record over as well


Found = Row | LeftOut


BY_PATTERN = (
    "Patients are told apart by data.patient_pattern: a person under two names of files counts as two."
)


def strict_rows(found: Iterable[Found]) -> list[Row]:
    """Return the rows alone; `DataError` with the first sentence that a left-out record has, and how many are alike."""
    rows: list[Row] = []
    refused: list[LeftOut] = []
    for one in found:
        if isinstance(one, Row):
            rows.append(one)
        elif one.refusal:
            refused.append(one)
    if refused:
        alike = len(
            {one.refusal for one in refused[1:] if one.kind == refused[0].kind} - {refused[0].refusal}
        )
        raise DataError(refused[0].refusal + (f" ({alike} more like it)" if alike else ""))
    return rows


def group_patients(records: Iterable[ImageRecord]) -> list[Patient]:
    """Group records into patients sorted by identifier, each with images sorted by file name and row."""
    images: dict[str, list[ImageRecord]] = defaultdict(list)
    for record in records:
        images[record.patient_id].append(record)
    return [
        Patient(
            patient_id, tuple(sorted(images[patient_id], key=lambda r: (r.file.as_posix(), r.index or 0)))
        )
        for patient_id in sorted(images)
    ]
