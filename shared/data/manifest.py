"""The manifest CSV: one row an image. Read here, written here, and its digest computed here.

Columns: file, label; and where known site, patient_id, split, mask, index (row in an .npz), lesion_mask, text_rule
(what is done about text in a DICOM picture).
Other columns are ignored. Only the digest of a public set's manifest leaves the machine that holds it.
"""

import csv
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from shared.config import Task
from shared.data.medmnist import npz_row
from shared.data.records import SPLITS, Patient, Row, TextRule
from shared.errors import DataError

COLUMNS = ("file", "label", "site", "patient_id", "split", "mask", "index", "lesion_mask", "text_rule")
TEXT_RULES: dict[str, TextRule] = {rule: rule for rule in get_args(TextRule)}


def read_manifest(path: Path, task: Task | None = None) -> list[Row]:  # noqa: ARG001 - the readers' common shape
    """Read the rows; a relative path is looked for in the manifest's folder, then in that folder's parent.

    Without a patient_id column each file counts as a patient (`manifest_notes` says so).
    Errors: `DataError` for a missing column, an empty patient_id or an unknown split.
    """
    table, columns = _table(path)
    return [_row(cells, path, columns, number) for number, cells in enumerate(table, 2)]


def manifest_notes(path: Path, task: Task) -> tuple[str, ...]:  # noqa: ARG001 - the readers' common shape
    """Say what every report about this manifest must tell."""
    if "patient_id" in _table(path)[1]:
        return ()
    return ("The manifest names no patients: each image counts as a patient of its own.",)


def write_manifest(patients: Iterable[Patient], path: Path, task: Task) -> None:
    """Write patients as a manifest with absolute paths that `read_source` gives back unchanged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in (record for patient in patients for record in patient.images):
            writer.writerow(
                (
                    record.file.resolve(),
                    task.classes[record.label],
                    record.site,
                    record.patient_id,
                    record.split,
                    record.mask.resolve() if record.mask else "",
                    "" if record.index is None else record.index,
                    record.lesion_mask.resolve() if record.lesion_mask else "",
                    "" if record.text_rule == "refuse" else record.text_rule,
                )
            )


def manifest_digest(path: Path) -> str:
    """SHA-256 over the sorted (patient_id, label, SHA-256 of the image's bytes) rows of a manifest.

    Independent of folders, row order and file names. For an .npz the bytes are the row's pixels.
    """
    rows = sorted(f"{row.patient_id}\0{row.label}\0{_image_sha256(row)}" for row in read_manifest(path))
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _image_sha256(row: Row) -> str:
    if row.index is not None:
        return hashlib.sha256(npz_row(row.file, row.split, row.index).tobytes()).hexdigest()
    try:
        return hashlib.sha256(row.file.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"file {row.file} cannot be read; restore it or remove its row") from error


def _table(path: Path) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restval="")
            table = list(reader)
            columns = tuple(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"manifest {path} cannot be read as CSV in UTF-8; check that it exists") from error
    missing = {"file", "label"} - set(columns)
    if missing:
        raise DataError(
            f"manifest {path} has no column {' and '.join(sorted(missing))}, needed are file and label; "
            "add it"
        )
    return table, columns


def _row(cells: dict[str, str], path: Path, columns: tuple[str, ...], number: int) -> Row:
    patient_id = cells["patient_id"].strip() if "patient_id" in columns else cells["file"]
    if not patient_id:
        raise DataError(
            f"patient_id is empty in line {number} of {path}, needed is an identifier; fill it in"
        )
    split = cells.get("split", "").strip()
    if split not in {*SPLITS, ""}:
        raise DataError(
            f"split is {split!r} in line {number} of {path}, allowed is train, val, test or empty; correct it"
        )
    index = cells.get("index", "").strip()
    if index and not index.isdecimal():
        raise DataError(f"index is {index!r} in line {number} of {path}, allowed is 0 or more; correct it")
    text_rule = cells.get("text_rule", "").strip() or "refuse"
    if text_rule not in TEXT_RULES:
        raise DataError(
            f"text_rule is {text_rule!r} in line {number} of {path}, allowed is {', '.join(TEXT_RULES)} or empty; "
            "correct it"
        )
    return Row(
        file=_found(path, cells["file"]),
        label=cells["label"].strip(),
        site=cells.get("site", "").strip(),
        patient_id=patient_id,
        split=split,
        mask=_found(path, cells["mask"]) if cells.get("mask") else None,
        index=int(index) if index else None,
        lesion_mask=_found(path, cells["lesion_mask"]) if cells.get("lesion_mask") else None,
        text_rule=TEXT_RULES[text_rule],
    )


def _found(manifest: Path, name: str) -> Path:
    """Resolve one path by itself, so that a row never depends on another row."""
    here, above = manifest.parent / name, manifest.parent.parent / name
    return above if not here.exists() and above.exists() else here
