"""Which label has a DICOM image? A hospital's CSV or its rules come in, a function from header to label goes out.

Identifiers of the CSV are compared with those of the headers and then forgotten; no error names one.
"""

import csv
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from shared.errors import DataError
from shared.site_config import DicomData

Header = Mapping[str, str]  # tags that were asked for, by the name they were asked by
LabelOf = Callable[[Header], str | None]
KEYWORDS = {"sop_instance_uid": "SOPInstanceUID", "accession_number": "AccessionNumber"}


def labels_by(rules: DicomData, folder: Path) -> LabelOf:
    """Return the function that gives a header its label, or None where no row or rule fits.

    Errors: `DataError` for a CSV that cannot be read, lacks a column or gives one key two labels.
    """
    if rules.label_tag is not None:
        tag, patterns = rules.label_tag, rules.label_rules
        return lambda header: next((patterns[one] for one in patterns if fits(header, tag, [one])), None)
    keyword, table = KEYWORDS[rules.label_key], _table(folder / (rules.labels or ""), rules.label_key)
    return lambda header: table.get(header[keyword])


def fits(header: Header, tag: str, patterns: Iterable[str]) -> bool:
    """Say whether a tag has a value and it fits one of the patterns; * is any characters, case is ignored."""
    found = header[tag].casefold()
    return bool(found) and any(fnmatchcase(found, pattern.casefold()) for pattern in patterns)


def _table(path: Path, key: str) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        separator = max(",;\t", key=(lines or [""])[0].count)
        header, *rows = list(csv.reader(lines, delimiter=separator)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error):
        raise DataError(
            f"data.dicom.labels {path} cannot be read as CSV in UTF-8; check that it exists"
        ) from None
    columns = [_plain(name) for name in header]
    missing = [name for name in (key, "label") if _plain(name) not in columns]
    if missing:
        raise DataError(
            f"data.dicom.labels {path} has no column {' and '.join(missing)}, needed are {key} and label; add it"
        )
    at_key, at_label = columns.index(_plain(key)), columns.index("label")
    table: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        name, label = (row[at].strip() if at < len(row) else "" for at in (at_key, at_label))
        if name and table.setdefault(name, label) != label:
            raise DataError(
                f"data.dicom.labels {path} gives the {key} of line {number} another label than an earlier line, "
                "allowed is one; correct it"
            )
    return table


def _plain(column: str) -> str:
    """Compare sop_instance_uid, SOPInstanceUID and "SOP Instance UID" as one name."""
    return column.strip().lower().replace("_", "").replace(" ", "")
