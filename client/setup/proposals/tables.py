"""Which column of a table is what? A hospital's CSV comes in; columns for files, labels and patients go out.

What is proposed is judged by the values: the column of files names files that are there, the one of labels has few
values, the one of patients groups files. Names only break ties. A person decides.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.setup.proposals.contents import evenly
from shared.config.site_data import TABLE_COLUMNS
from shared.data.patients import SPLITS
from shared.data.tables.csv_header import plain_column
from shared.data.tables.csv_lines import beside, exists, read_table

MOST_LOOKED_AT, MOST_LABELS = 400, 40
FILES = ("file", "filename", "filepath", "path", "image", "imagepath", "imagefile", "picture")
LABELS = (
    "label", "class", "diagnosis", "finding", "findings", "findinglabels", "category", "target", "disease",
    "pathology", "dx", "grade", "result", "outcome", "befund", "diagnose", "klasse", "etiqueta",
)  # fmt: skip
PATIENTS = (
    "patientid", "patient", "subjectid", "subject", "personid", "person", "participantid", "participant", "mrn",
    "pid", "caseid", "case", "patientnumber", "patid", "pseudonym", "patientpseudonym", "pazient", "fallnummer",
)  # fmt: skip
# What has few values and is a diagnosis in no hospital.
NOT_LABELS = frozenset({
    "sex", "gender", "geschlecht", "age", "ageyears", "view", "viewposition", "projection", "modality", "hospital",
    "site", "country", "licence", "license", "attribution", "width", "height", "laterality", "side", "scanner",
    "manufacturer", "bodypart", "bodypartexamined", "bitsstored", "signed", "photometric", "transfersyntax", "split",
    "year", "location",
})  # fmt: skip


_ABOUT_FILES = (
    "url",
    "licen",
    "attribution",
    "mask",
    "source",
)  # in names of columns that say where a file is from


@dataclass(frozen=True)
class TableColumns:
    """A table's columns by what they may be, best first; empty where there is none of the kind."""

    path: Path
    names: tuple[str, ...]
    num_rows: int
    files: tuple[str, ...]
    labels: tuple[str, ...]
    patients: tuple[str, ...]
    share_found: float  # of the best column of files: how many of those looked at are there
    values: Mapping[str, tuple[str, ...]]  # of each column, row by row

    def num_values(self, column: str) -> int:
        """How many different values a column has, empty cells aside."""
        return len({value for value in self.values[column] if value})

    def named(self, **columns: str) -> dict[str, str]:
        """Return `data.columns`: those of our columns that this table calls otherwise."""
        return {name: own for name, own in columns.items() if own and plain_column(own) != plain_column(name)}

    def column(self, name: str) -> str:
        """Return the table's own spelling of one of our columns, "" where it has none of this name."""
        return next((own for own in self.names if plain_column(own) == plain_column(name)), "")

    def split_words(self) -> tuple[str, ...]:
        """Return what stands in a column `split` and is none of our words; such records would be left out."""
        own = self.column("split")
        return tuple(sorted({*self.values[own]} - {*SPLITS, ""})) if own else ()

    def sites(self) -> tuple[str, ...]:
        """Return the hospitals that a column `site` names."""
        own = self.column("site")
        return tuple(sorted({*self.values[own]} - {""})) if own else ()


def look_at_table(path: Path, classes: Sequence[str] = ()) -> TableColumns:
    """Judge the columns of a table; `classes` of a study, where known, tell its labels.

    Errors: `DataError` for a table that cannot be read.
    """
    table = read_table(path, "table")
    values = {
        name: tuple(line.cells.get(name, "").strip() for line in table.lines if not line.problem)
        for name in dict.fromkeys(table.columns)
    }
    shares = {name: _share_of_files(path, cells) for name, cells in values.items()}
    files = sorted(
        (name for name, share in shares.items() if share > 0.5),
        key=lambda one: (-shares[one], _rank(one, FILES)),
    )
    patients = sorted(
        (
            name
            for name, cells in values.items()
            if _rank(name, PATIENTS) < len(PATIENTS) and len({*cells} - {""}) > 1 and name not in files
        ),
        key=lambda one: _rank(one, PATIENTS),
    )
    labels = [
        name
        for name, cells in values.items()
        if name not in {*files, *patients} and _may_be_label(name, cells)
    ]
    known = {plain_column(one) for one in classes}
    labels.sort(key=lambda one: (-_share_known(values[one], known), _rank(one, LABELS), len({*values[one]})))
    return TableColumns(
        path,
        tuple(values),
        len(next(iter(values.values()), ())),
        tuple(files),
        tuple(labels),
        tuple(patients),
        shares[files[0]] if files else 0.0,
        values,
    )


def _share_of_files(path: Path, cells: Sequence[str]) -> float:
    """Return the share of cells that name a file beside the table, as a manifest's cells do."""
    some = evenly([cell for cell in cells if cell], MOST_LOOKED_AT)
    if not some or not any("." in one for one in some):
        return 0.0
    return sum(_is_file(beside(path.parent, one)) for one in some) / len(some)


def _is_file(path: Path) -> bool:
    return exists(path) and path.is_file()


def _may_be_label(name: str, cells: Sequence[str]) -> bool:
    """Say whether a column has few values, each of several rows, and is no number that was measured."""
    found = {*cells} - {""}
    is_named = _rank(name, LABELS) < len(LABELS)
    most = MOST_LABELS if is_named else min(MOST_LABELS, len(cells) // 2)
    if not 1 <= len(found) <= most or plain_column(name) in NOT_LABELS:
        return False
    if any(word in plain_column(name) for word in _ABOUT_FILES):
        return False
    if plain_column(name) in {plain_column(one) for one in TABLE_COLUMNS if one != "label"}:
        return False
    is_measured = any("." in one or "," in one for one in found) and all(map(_is_number, found))
    return not is_measured and (len(found) > 1 or is_named)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _share_known(cells: Sequence[str], known: Iterable[str]) -> float:
    named = {*known}
    return (
        sum(plain_column(cell) in named for cell in cells if cell) / max(1, sum(map(bool, cells)))
        if named
        else 0
    )


def _rank(name: str, words: Sequence[str]) -> int:
    """Return where a column's name stands among words, their number where it is none of them."""
    plain = plain_column(name)
    return words.index(plain) if plain in words else len(words)
