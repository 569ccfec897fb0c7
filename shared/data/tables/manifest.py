"""The manifest CSV: one row an image. Read here, written here, and its digest computed here.

Columns, by these names or those of `data.columns`: file, label; and where known site, patient_id, split, mask, index
(row in an .npz), lesion_mask, text_rule (what is done about text in a DICOM picture).
Other columns are ignored. Only the digest of a public set's manifest leaves the machine that holds it.
"""

import csv
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import get_args

from shared.config.naming import OURS, Naming, TextRule
from shared.config.site_data import TABLE_COLUMNS
from shared.config.study import Task
from shared.data.across import settled
from shared.data.medmnist import npz_row
from shared.data.patients import BY_PATTERN, SPLITS, Found, LeftOut, Patient, Row, strict_rows
from shared.data.tables.csv_lines import (
    LINE_REFUSALS,
    Line,
    Table,
    beside,
    read_table,
    unfit_path,
    unfit_text,
)
from shared.data.tables.identifiers import is_rounded, names_nobody, plain_identifier
from shared.errors import DataError

COLUMNS = TABLE_COLUMNS
PATHS = ("file", "mask", "lesion_mask")
# A line that ends before one of these is refused; spreadsheets leave the last cells out where they are empty.
DECIDING = ("file", "label", "site", "patient_id", "split", "index")
MAX_DIGITS, MAX_QUOTED = 12, 60
NOBODY_S = frozenset({"record_nobody", "record_rounded"})  # lines whose identifier is no patient's
TEXT_RULES: dict[str, TextRule] = {rule: rule for rule in get_args(TextRule)}


def read_manifest(path: Path, task: Task | None = None, naming: Naming = OURS) -> list[Found]:  # noqa: ARG001 - the readers' common shape
    """Read the rows, and what is wrong with a line that is none; relative paths start at the manifest or its parent.

    Without a patient_id column a pattern says whose a file is, or each file counts as a patient (`manifest_notes`).
    Errors: `DataError` for a manifest that cannot be read or lacks a column, or has both column and pattern.
    """
    table = _table(path, naming)
    if naming.patient_pattern is not None and "patient_id" in table.columns:
        raise DataError(
            f"data.patient_pattern is given, and manifest {path} has a column for patients, allowed is one of the two; "
            "remove data.patient_pattern"
        )
    return list(settled((_found(line, path, table.columns, naming) for line in table.lines), path))


def manifest_notes(path: Path, task: Task, naming: Naming = OURS) -> tuple[str, ...]:  # noqa: ARG001 - the readers' common shape
    """Say what every report about this manifest must tell."""
    if "patient_id" in _table(path, naming).columns:
        return ()
    if naming.patient_pattern is not None:
        return (BY_PATTERN,)
    return ("The manifest names no patients: each image counts as a patient of its own.",)


def write_manifest(patients: Iterable[Patient], path: Path, task: Task) -> None:
    """Write patients as a manifest that `read_source` gives back unchanged.

    Paths are absolute, but for files below the manifest's folder or its parent: those move with it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for record in (record for patient in patients for record in patient.images):
            writer.writerow(
                (
                    _written(record.file, path),
                    task.classes[record.label],
                    record.site,
                    record.patient_id,
                    record.split,
                    _written(record.mask, path) if record.mask else "",
                    "" if record.index is None else record.index,
                    _written(record.lesion_mask, path) if record.lesion_mask else "",
                    "" if record.text_rule == "refuse" else record.text_rule,
                )
            )


def _written(file: Path, manifest: Path) -> Path:
    """Return how a manifest names a file: from its folder's parent, where it is read from there, else as a whole."""
    whole, folder = file.resolve(), manifest.resolve().parent
    if folder.parent == folder.parent.parent or not whole.is_relative_to(folder.parent):
        return whole
    short = whole.relative_to(folder.parent)
    return short if beside(folder, str(short)) == whole else whole


def manifest_digest(path: Path) -> str:
    """SHA-256 over the sorted (patient_id, label, SHA-256 of the image's bytes) rows of a manifest.

    Independent of folders, row order and file names. For an .npz the bytes are the row's pixels.
    """
    rows = sorted(
        f"{row.patient_id}\0{row.label}\0{_image_sha256(row)}" for row in strict_rows(read_manifest(path))
    )
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()


def _image_sha256(row: Row) -> str:
    if row.index is not None:
        return hashlib.sha256(npz_row(row.file, row.split, row.index).tobytes()).hexdigest()
    try:
        return hashlib.sha256(row.file.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"file {row.file} cannot be read; restore it or remove its row") from error


def _table(path: Path, naming: Naming) -> Table:
    return read_table(
        path, "manifest", names=COLUMNS, required=("file", "label"), needed=DECIDING, own=naming.columns
    )


def _found(line: Line, path: Path, columns: Collection[str], naming: Naming) -> Found:
    """Turn a line into a row by itself, so that a row never depends on another."""
    by_pattern = naming.patient_pattern is not None
    is_named = "patient_id" in columns or by_pattern
    cells = {name: line.cells.get(name, "").strip() for name in COLUMNS}
    name = line.cells.get("file", "")
    patient_id = naming.patient_of(name) if by_pattern else cells["patient_id"] if is_named else name
    kind, refusal = next(_problems(line, cells, patient_id, is_named=is_named), ("", ""))
    file, mask, lesion_mask = (line.cells.get(name, "") for name in PATHS)
    if kind:
        whose = "" if kind in NOBODY_S or unfit_text(patient_id) else patient_id
        where = path.parent / file if not unfit_path(file) else path
        return LeftOut(kind, whose, cells["site"], where, refusal.format(f"line {line.number} of {path}"))
    return Row(
        file=beside(path.parent, file),
        label=cells["label"],
        site=cells["site"],
        patient_id=patient_id,
        split=cells["split"],
        mask=beside(path.parent, mask) if mask else None,
        index=int(cells["index"]) if is_npz(file) else None,  # others may have a column of this name
        lesion_mask=beside(path.parent, lesion_mask) if lesion_mask else None,
        text_rule=TEXT_RULES[cells["text_rule"] or "refuse"],
        spelt=plain_identifier(patient_id) if is_named else "",
    )


def is_npz(file: str) -> bool:
    """Say whether a file holds the pictures of many rows, so that an index and a split say which."""
    return file.lower().endswith(".npz")


def _problems(
    line: Line, cells: Mapping[str, str], patient_id: str, *, is_named: bool
) -> Iterator[tuple[str, str]]:
    """Yield words for what is wrong with a line, each with a sentence that has {} for the line's place."""
    names = [line.cells.get(name, "") for name in PATHS]
    index, split, rule = cells["index"], cells["split"], cells["text_rule"]
    if line.problem:
        yield line.problem, LINE_REFUSALS[line.problem]
    if not patient_id:
        yield "record_no_patient", "patient_id is empty in {}, needed is an identifier; fill it in"
    elif is_named:
        yield from _nobody(patient_id)
    for unfit in (unfit_text(patient_id, cells["site"]), *map(unfit_path, names)):
        if unfit:
            yield unfit, LINE_REFUSALS[unfit]
    if split not in {*SPLITS, ""}:
        said = f"split is {_quoted(split)} in {{}}, allowed is train, val, test or empty; correct it"
        yield "record_split", said
    if index and not (index.isascii() and index.isdecimal() and len(index) <= MAX_DIGITS):
        yield "record_index", f"index is {_quoted(index)} in {{}}, allowed is 0 or more; correct it"
    if is_npz(names[0]):
        yield from _lost(index, split)
    if rule not in {*TEXT_RULES, ""}:
        allowed = f"{', '.join(TEXT_RULES)} or empty"
        yield "record_text_rule", f"text_rule is {_quoted(rule)} in {{}}, allowed is {allowed}; correct it"


def _nobody(patient_id: str) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with an identifier that stands for nobody, or for who knows how many."""
    said = f"patient_id is {_quoted(patient_id)} in {{}}, "
    if names_nobody(patient_id):
        yield "record_nobody", f"{said}a word for a missing one, needed is an identifier; fill it in"
    if is_rounded(patient_id):
        yield (
            "record_rounded",
            f"{said}rounded by a spreadsheet, needed is the whole number; export the column as text",
        )


def _lost(index: str, split: str) -> Iterator[tuple[str, str]]:
    """Yield why a row does not say which picture of an .npz it means."""
    if not index:
        yield "record_index", "index is empty in {}, needed for an .npz is the row of its picture; fill it in"
    if not split:
        yield "record_npz_split", "split is empty in {}, needed for an .npz is train, val or test; fill it in"


def _quoted(value: str) -> str:
    return repr(value[:MAX_QUOTED]).replace("{", "{{").replace("}", "}}")
