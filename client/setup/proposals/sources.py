"""How can this folder be read? Its contents come in; ways to read it go out, best first, each with its reasons.

A way is what `data` in site.yaml would say. A way that a hospital may not take says why, and stands last.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from client.setup.proposals.contents import Contents
from client.setup.proposals.headers import KEYS, Headers, look_at_headers
from client.setup.proposals.tables import TableColumns, look_at_table
from shared.data.folder import read_folder
from shared.data.patients import Row
from shared.data.sources import check_hospital_source
from shared.data.tables.csv_header import plain_column
from shared.data.tables.grouping import GROUPING
from shared.errors import DataError

Kind = Literal["table", "folders", "dicom-table", "dicom-tag", "npz"]
KINDS: dict[Kind, str] = {
    "table": "a table that names files and labels",
    "folders": "class folders: the folder of a picture is its label",
    "dicom-table": "DICOM files, labels from a table",
    "dicom-tag": "DICOM files, labels from one of their tags",
    "npz": "a MedMNIST file",
}
MOST_CLASSES, MOST_TABLES = 40, 12
SAMPLE = 0.5  # share of the headers looked at whose key a table of labels must have


@dataclass(frozen=True)
class Way:
    """One way to read a source: `reasons` are sentences for a person, `refused` why a hospital may not take it."""

    kind: Kind
    source: Path
    reasons: tuple[str, ...]
    table: TableColumns | None = None
    key: str = ""  # of a table of DICOM labels
    headers: Headers | None = None
    labels: Mapping[str, int] = field(default_factory=dict)  # of class folders
    paths: tuple[str, ...] = ()  # of class folders: pictures below the source
    names_patients: bool = False
    refused: str = ""

    @property
    def data(self) -> dict[str, Any]:
        """What `data` in site.yaml must say for it, but for columns, tag and label map, which a person chooses."""
        return {"source": self.source}


def tables_in(contents: Contents, classes: Sequence[str] = ()) -> tuple[list[TableColumns], list[str]]:
    """Look at the tables of a source, and say of each that cannot be read why.

    Errors: `DataError` where that table is the source itself.
    """
    found, unread = [], []
    own = contents.source / GROUPING  # which class folders read for themselves
    for path in [one for one in contents.tables if one != own][:MOST_TABLES]:
        try:
            found.append(look_at_table(path, classes))
        except DataError as error:
            if path == contents.source:
                raise
            unread.append(str(error))
    return found, unread


def ways_to_read(
    contents: Contents, tables: Sequence[TableColumns], labels: TableColumns | None = None
) -> list[Way]:
    """Return the ways to read a source, best first; `labels` is a table of DICOM labels that a person named."""
    ways = [*_by_table(tables), *_by_folders(contents)]
    if contents.dicom:
        headers = look_at_headers(contents.dicom)
        ways += _by_headers(contents.source, headers, [*([] if labels is None else [labels]), *tables])
    ways += _by_array(contents)
    ways = [_allowed(one) for one in ways]
    return sorted(ways, key=lambda one: (bool(one.refused), not one.names_patients))


def _by_table(tables: Sequence[TableColumns]) -> list[Way]:
    ways = []
    for table in tables:
        if not table.files or not table.labels:
            continue
        reasons = [
            f"column {table.files[0]!r} of {table.path.name} ({table.num_rows} rows) names files that are there",
            f"column {table.labels[0]!r} has {table.num_values(table.labels[0])} values, as a label has",
        ]
        if table.patients:
            own = table.patients[0]
            reasons.append(f"column {own!r} tells {table.num_values(own)} patients apart")
        else:
            reasons.append("no column is called like a patient's")
        ways.append(Way("table", table.path, tuple(reasons), table, names_patients=bool(table.patients)))
    return ways


def _by_folders(contents: Contents) -> list[Way]:
    root = contents.source
    if not contents.images or not root.is_dir():
        return []
    rows = [one for one in read_folder(root) if isinstance(one, Row)]
    labels = Counter(row.label for row in rows)
    if not labels:
        return []
    grouped = (root / GROUPING).is_file()
    splits = sorted({row.split for row in rows} - {""})
    reasons = [f"{len(rows)} pictures lie in {len(labels)} folders that may be classes ({_shown(labels)})"]
    if splits:
        reasons.append(f"folders above them are called {', '.join(splits)}, so the division is theirs")
    reasons.append(f"{GROUPING} says whose they are" if grouped else f"no {GROUPING} says whose they are")
    way = Way(
        "folders",
        root,
        tuple(reasons),
        labels=dict(labels),
        paths=tuple(sorted(row.file.relative_to(root).as_posix() for row in rows)),
        names_patients=grouped,
    )
    if (root / "manifest.csv").is_file():
        return [
            replace(way, refused="manifest.csv beside the folders is read in their place; move it away first")
        ]
    if len(labels) > MOST_CLASSES:
        return [
            replace(
                way,
                refused=f"{len(labels)} folders are too many for classes, and may be patients: put pictures into "
                "<class>/<patient>_<number>, or write a table with file, label and patient_id",
            )
        ]
    return [way]


def _by_headers(source: Path, headers: Headers, tables: Sequence[TableColumns]) -> list[Way]:
    ways = []
    if not headers.num_pictures:
        return []
    patients = f"PatientID tells {headers.num_patients} patients apart in the {headers.num_pictures} pictures looked at"
    if headers.num_nobody:
        patients += f"; {headers.num_nobody} name nobody and would be left out"
    for table in tables:
        for key, own in _keys_in(table, headers):
            labels = [name for name in table.labels if name != own]
            if labels:
                reasons = (f"column {own!r} of {table.path.name} holds their {KEYS[key]}", patients)
                found = replace(table, labels=tuple(labels), files=(own,))
                ways.append(Way("dicom-table", source, reasons, found, key, headers, names_patients=True))
    if headers.tags:
        tags = ", ".join(headers.tags)
        passed = f" ({', '.join(headers.passed_by)} say how a picture was taken)" if headers.passed_by else ""
        reasons = (f"tags with few values, which may be labels: {tags}{passed}", patients)
        ways.append(Way("dicom-tag", source, reasons, headers=headers, names_patients=True))
    return ways


def _keys_in(table: TableColumns, headers: Headers) -> list[tuple[str, str]]:
    """Return which keys of the headers stand in which columns of a table."""
    found = []
    for key, wanted in headers.keys.items():
        for own, cells in table.values.items():
            if wanted and len(wanted & {*cells}) >= SAMPLE * len(wanted):
                found.append((key, own))
                break
    return sorted(found, key=lambda one: plain_column(one[1]) not in {plain_column(key) for key in KEYS})


def _by_array(contents: Contents) -> list[Way]:
    if len(contents.arrays) != 1 or contents.images or contents.dicom:
        return []
    path = contents.arrays[0]
    return [Way("npz", path, (f"{path.name} holds arrays, as MedMNIST's files do",))]


def _allowed(way: Way) -> Way:
    if way.kind != "npz":
        return way
    try:
        check_hospital_source(way.source)
    except DataError as error:
        return replace(way, refused=str(error))
    return way


def _shown(labels: Mapping[str, int]) -> str:
    most = sorted(labels.items(), key=lambda one: (-one[1], one[0]))[:6]
    more = f" and {len(labels) - len(most)} more" if len(labels) > len(most) else ""
    return ", ".join(f"{name} {number}" for name, number in most) + more
