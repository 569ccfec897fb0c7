"""Which label has a DICOM image? A hospital's CSV or its rules come in, a function from header to label goes out.

Identifiers of the CSV are compared with those of the headers and then forgotten; no error names one.
"""

import csv
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from shared.data.csv_lines import LINE_REFUSALS, Line, read_table
from shared.data.records import LeftOut
from shared.errors import DataError
from shared.site_config import DicomData

Header = Mapping[str, str]  # tags that were asked for, by the name they were asked by
LabelOf = Callable[[Header], str | None]
KEYWORDS = {"sop_instance_uid": "SOPInstanceUID", "accession_number": "AccessionNumber"}
UNCLEAR = "\0"  # in place of a label: the table gives two, or has only a damaged line for it


@dataclass(frozen=True)
class Labels:
    """How to find a header's label, and the lines of the table that give none."""

    of: LabelOf
    left_out: list[LeftOut]


def labels_by(rules: DicomData, folder: Path) -> Labels:
    """Return the function that gives a header its label, `UNCLEAR` or, where no row or rule fits, None.

    A line says something of its own key alone: one that is damaged or contradicts another leaves the images of that
    key without a label.
    Errors: `DataError` for a CSV that cannot be read or lacks a column.
    """
    if rules.label_tag is not None:
        tag, patterns = rules.label_tag, rules.label_rules
        return Labels(
            lambda header: next((patterns[one] for one in patterns if fits(header, tag, [one])), None), []
        )
    keyword = KEYWORDS[rules.label_key]
    table, left_out = _labels(folder / (rules.labels or ""), rules.label_key)
    return Labels(lambda header: table.get(header[keyword]), left_out)


def fits(header: Header, tag: str, patterns: Iterable[str]) -> bool:
    """Say whether a tag has a value and it fits one of the patterns; * is any characters, case is ignored."""
    found = header[tag].casefold()
    return bool(found) and any(fnmatchcase(found, pattern.casefold()) for pattern in patterns)


def _labels(path: Path, key: str) -> tuple[dict[str, str], list[LeftOut]]:
    at_key, at_label, lines = _lines(path, key)
    table: dict[str, str] = {}
    left_out = []
    for line in lines:
        name, label = line.cells.get(at_key, "").strip(), line.cells.get(at_label, "").strip()
        where = f"line {line.number} of data.dicom.labels {path}"
        if line.problem:
            label = UNCLEAR
            refusal = LINE_REFUSALS[line.problem].format(where)
            left_out.append(LeftOut(line.problem, file=path, refusal=refusal))
        elif name and table.get(name, label) != label:
            label = UNCLEAR
            refusal = (
                f"data.dicom.labels {path} gives the {key} of line {line.number} another label than an earlier line, "
                "allowed is one; correct it"
            )
            left_out.append(LeftOut("record_two_labels", file=path, refusal=refusal))
        if name:
            table[name] = label
    return table, left_out


def _lines(path: Path, key: str) -> tuple[str, str, tuple[Line, ...]]:
    """Return which columns hold key and label, and the lines."""
    try:
        columns = read_table(path, separators=",;\t", needed=()).columns
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(
            f"data.dicom.labels {path} cannot be read as CSV in UTF-8; check that it exists"
        ) from None
    named = {_plain(name): name for name in reversed(columns)}
    missing = [name for name in (key, "label") if _plain(name) not in named]
    if missing:
        raise DataError(
            f"data.dicom.labels {path} has no column {' and '.join(missing)}, needed are {key} and label; add it"
        )
    at_key, at_label = named[_plain(key)], named["label"]
    return at_key, at_label, read_table(path, separators=",;\t", needed=(at_key, at_label)).lines


def _plain(column: str) -> str:
    """Compare sop_instance_uid, SOPInstanceUID and "SOP Instance UID" as one name."""
    return column.strip().lower().replace("_", "").replace(" ", "")
