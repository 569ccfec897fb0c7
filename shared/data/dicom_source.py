"""DICOM files of a hospital: a folder with everything below it, or a list, comes in; rows go out.

Headers are read without pixels and only for the tags that are asked for. What stays of one is a label and a digest of
its PatientID; dates, UIDs, accession numbers and free text never get out of this file and `dicom_labels.py`.
"""

import csv
import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from pydicom import dcmread
from pydicom.multival import MultiValue

from shared.data.dicom import is_dicom, parsed
from shared.data.dicom_labels import KEYWORDS, fits, labels_by
from shared.data.image_problems import ImageError
from shared.data.records import Row
from shared.errors import DataError
from shared.site_config import DicomData, tag_number

LeftOut = tuple[str, Path]
SUFFIXES = frozenset({".dcm", ".dicom"})  # must be DICOM; files of other names may be


def read_dicom(source: Path, rules: DicomData) -> list[Row]:
    """Read the rows of all DICOM pictures that have a patient and a label; no split, no site.

    Patients are those of PatientID alone: people of different issuers under one number count as one person, who is
    then protected as one. An image that stands in several files counts once.
    Errors: `DataError` for a list or labels that cannot be read.
    """
    return [found for found in _scan(source, rules) if isinstance(found, Row)]


def left_out(source: Path, rules: DicomData) -> list[LeftOut]:
    """Return the files that `read_dicom` leaves out, each with a word of `shared/data/image_problems.py`."""
    return [found for found in _scan(source, rules) if not isinstance(found, Row)]


def dicom_notes(rules: DicomData) -> tuple[str, ...]:
    """Say what every report about this source must tell."""
    labels = "by rules from a tag" if rules.labels is None else "from a table"
    notes = [f"DICOM files: patients are told apart by PatientID alone, labels come {labels}."]
    if rules.text != "refuse":
        kind = "Suspected" if rules.text == "refuse_flagged" else "Flagged and suspected"
        notes.append(f"{kind} burned-in text was let through by the site's own rule.")
    if rules.reviewed is not None:
        notes.append("Pictures with suspected text that a person has looked at were let through.")
    return tuple(notes)


def safe_patient(patient_id: str) -> str:
    """Return the digest that stands for a PatientID in memory; what is stored of it is an HMAC of this."""
    return hashlib.blake2b(
        patient_id.encode(errors="surrogatepass"), digest_size=16, person=b"DICOM patient"
    ).hexdigest()


def _scan(source: Path, rules: DicomData) -> Iterator[Row | LeftOut]:
    """Yield a row for each picture to use, and word and path for each file that is left out, in order of path."""
    folder = source if source.is_dir() else source.parent
    label_of, reviewed = labels_by(rules, folder), _reviewed(rules, folder)
    asked = {*KEYWORDS.values(), "PatientID", "Rows", "Columns", *rules.keep}
    asked |= {rules.label_tag} if rules.label_tag is not None else set()
    seen: set[tuple[str, str]] = set()
    for path in _files(source):
        try:
            header = parsed(partial(_header, path, asked))
        except ImageError as error:
            yield error.kind, path
            continue
        image = (header["PatientID"], header["SOPInstanceUID"])
        if not header["Rows"] or not header["Columns"]:
            yield "no_picture", path
        elif not all(fits(header, tag, patterns) for tag, patterns in rules.keep.items()):
            yield "not_kept", path
        elif not header["PatientID"]:
            yield "image_no_patient", path
        elif (label := label_of(header)) is None:
            yield "no_label", path
        elif all(image) and image in seen:
            yield "repeated", path
        else:
            seen.add(image)
            text_rule = "allow" if reviewed and path.resolve() in reviewed else rules.text
            yield Row(path, label, "", safe_patient(header["PatientID"]), "", text_rule=text_rule)


def _header(path: Path, asked: Iterable[str]) -> dict[str, str]:
    r"""Read tags as text: "" where one is absent or empty, several values joined by \ as in the file."""
    numbers = {name: tag_number(name) or 0 for name in asked}
    dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(numbers.values()))
    elements = {name: dataset.get(number) for name, number in numbers.items()}
    return {
        name: "" if one is None or one.value is None else _text(one.value) for name, one in elements.items()
    }


def _text(value: object) -> str:
    return "\\".join(map(str, value)).strip() if isinstance(value, MultiValue) else str(value).strip()


def _files(source: Path) -> Iterator[Path]:
    """Yield what a list names, or all of a folder that is called or begins as DICOM; hidden files are passed over."""
    if not source.is_dir():
        yield from sorted(_listed(source))
        return
    for folder, below, names in os.walk(source):
        below[:] = sorted(name for name in below if name[0] != ".")
        for path in (Path(folder) / name for name in sorted(names) if name[0] != "."):
            if path.suffix.lower() in SUFFIXES or is_dicom(path):
                yield path


def _listed(path: Path) -> set[Path]:
    """Read a list of files: a CSV with the column file, or one path a line; # begins a remark."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise DataError(f"source {path} cannot be read as a list in UTF-8; check that it exists") from None
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if path.suffix.lower() == ".csv":
        rows = csv.DictReader(lines, restval="")
        if "file" not in (rows.fieldnames or ()):
            raise DataError(f"source {path} has no column file, needed is one path a row; add it")
        lines = [row["file"] for row in rows]
    return {_found(path.parent, line) for line in lines}


def _found(folder: Path, name: str) -> Path:
    """Look for a relative path beside the list, then beside its folder, as manifests do."""
    here, above = folder / name, folder.parent / name
    return above if not here.exists() and above.exists() else here


def _reviewed(rules: DicomData, folder: Path) -> set[Path]:
    if rules.reviewed is None:
        return set()
    path = folder / rules.reviewed
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError):
        raise DataError(
            f"data.dicom.reviewed {path} cannot be read as text in UTF-8; check that it exists"
        ) from None
    names = (line.split("\t")[-1].strip() for line in lines if not line.startswith("#"))
    return {(folder / name).resolve() for name in names if name}
