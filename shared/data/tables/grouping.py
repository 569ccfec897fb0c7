"""Which images are one person's? The `patients.csv` of class folders comes in, patients by file go out.

A line says something of its own file and patient and of no other: a file that stands under two patients is both's,
and `shared/data/across.py` tells it.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.data.patients import LeftOut
from shared.data.tables.csv_lines import LINE_REFUSALS, Line, read_table, unfit_text
from shared.data.tables.identifiers import is_rounded, names_nobody

GROUPING = "patients.csv"


@dataclass(frozen=True)
class Grouping:
    """Patients by relative path of a file, and the lines that are left out."""

    patients: dict[str, set[str]]
    left_out: list[LeftOut]


def read_grouping(root: Path, columns: Mapping[str, str] | None = None) -> Grouping | None:
    """Read the table of a tree of class folders; None where it has none. `columns` says what it calls its columns.

    Errors: `DataError` for a table that cannot be read or lacks a column.
    """
    path = root / GROUPING
    if not path.is_file():
        return None
    names = ("file", "patient_id")
    table = read_table(path, "table", names=names, required=names, needed=names, own=columns)
    found = Grouping(defaultdict(set), [])
    for line in table.lines:
        patient_id = line.cells.get("patient_id", "").strip()
        problem = _problem(line, patient_id, path)
        if problem is None:
            found.patients[line.cells["file"]].add(patient_id)
        else:
            found.left_out.append(problem)
    return Grouping(dict(found.patients), found.left_out)


def _problem(line: Line, patient_id: str, path: Path) -> LeftOut | None:
    where = f"line {line.number} of {path}"
    if kind := line.problem or unfit_text(patient_id):
        whose = "" if unfit_text(patient_id) else patient_id
        return LeftOut(kind, whose, file=path, refusal=LINE_REFUSALS[kind].format(where))
    if not patient_id:
        refusal = f"patient_id is empty in {where}, needed is an identifier; fill it in"
        return LeftOut("record_no_patient", file=path, refusal=refusal)
    if names_nobody(patient_id) or is_rounded(patient_id):
        kind = "record_nobody" if names_nobody(patient_id) else "record_rounded"
        what = (
            "a word for a missing one" if names_nobody(patient_id) else "a number that a spreadsheet rounded"
        )
        refusal = f"patient_id is {what} in {where}, needed is an identifier; correct it"
        return LeftOut(kind, file=path, refusal=refusal)
    return None
