"""Which pictures are the same, whatever their files are called? Records come in, groups with equal content go out.

What is compared is the bytes of a file, the row of an .npz, or the pixel data of a DICOM file, whose header differs
where its patient does. For people who check or prepare: no round reads it, and nothing of it leaves.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread

from shared.data.dicom.limits import check_dicom_file
from shared.data.dicom.picture import is_dicom
from shared.data.medmnist import npz_row
from shared.data.patients import ImageRecord, Patient
from shared.data.pictures.limits import check_file

_CHUNK = 1 << 20
_PIXEL_DATA = 0x7FE00010


@dataclass(frozen=True)
class Same:
    """One picture that stands in more than one place: its records, by patient and then by file."""

    records: tuple[ImageRecord, ...]

    @property
    def num_patients(self) -> int:
        """Under how many patients it stands."""
        return len({one.patient_id for one in self.records})

    @property
    def num_files(self) -> int:
        """In how many files, or rows of an .npz."""
        return len({(one.file, one.split, one.index) for one in self.records})

    @property
    def num_labels(self) -> int:
        """How many labels it has."""
        return len({one.label for one in self.records})


def same_pictures(patients: Iterable[Patient]) -> list[Same]:
    """Return pictures that stand under several patients or labels; a patient's own copies of one label are no matter.

    Files are read only where another has as many bytes. What cannot be read is nobody's copy here, and told elsewhere.
    """
    alike: dict[tuple[str, int], list[ImageRecord]] = defaultdict(list)
    for record in (record for patient in patients for record in patient.images):
        if (key := _size(record)) is not None:
            alike[key].append(record)
    found: dict[bytes, list[ImageRecord]] = defaultdict(list)
    for records in alike.values():
        for record in records if _may_be_same(records) else ():
            if (digest := _digest(record)) is not None:
                found[digest].append(record)
    groups = (Same(tuple(sorted(some, key=_order))) for some in found.values())
    return sorted(
        (one for one in groups if one.num_patients > 1 or one.num_labels > 1),
        key=lambda one: _order(one.records[0]),
    )


def _may_be_same(records: Sequence[ImageRecord]) -> bool:
    return len({(one.patient_id, one.label) for one in records}) > 1


def _order(record: ImageRecord) -> tuple[str, str, int]:
    return record.patient_id, os.fspath(record.file), record.index or 0


def _size(record: ImageRecord) -> tuple[str, int] | None:
    """Return what two files must share to be the same: kind and bytes; DICOM headers and rows of an .npz differ."""
    try:
        if record.file.suffix.lower() == ".npz":
            return "npz", 0
        check_file(record.file)
        size = record.file.stat().st_size
        if is_dicom(record.file):
            return "dicom", 0
        return ("file", size) if size else None
    except Exception:  # noqa: BLE001 - whatever is wrong with one file, it is told where pictures are read
        return None


def _digest(record: ImageRecord) -> bytes | None:
    digest = hashlib.blake2b(digest_size=16)
    try:
        if record.file.suffix.lower() == ".npz":
            if record.index is None:
                return None
            digest.update(npz_row(record.file, record.split, record.index).tobytes())
        elif is_dicom(record.file):
            digest.update(_pixels(record.file))
        else:
            with record.file.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    digest.update(chunk)
    except Exception:  # noqa: BLE001 - as above
        return None
    return digest.digest()


def _pixels(path: Path) -> bytes:
    check_dicom_file(path)
    pixels = dcmread(path, specific_tags=[_PIXEL_DATA])[_PIXEL_DATA].value
    if not isinstance(pixels, bytes) or not pixels:
        raise ValueError("no pixel data")
    return pixels
