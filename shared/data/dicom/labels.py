"""Which label has a DICOM image? A hospital's CSV or its rules come in, a function from header to label goes out.

Identifiers of the CSV are compared with those of the headers and then forgotten; no error names one.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.config.site_data import DicomData
from shared.data.patients import LeftOut
from shared.data.tables.csv_lines import LINE_REFUSALS, read_table

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
    table, left_out = _labels(folder / (rules.labels or ""), rules.label_key, rules.columns)
    return Labels(lambda header: table.get(header[keyword]), left_out)


def fits(header: Header, tag: str, patterns: Iterable[str]) -> bool:
    """Say whether a tag has a value and it fits one of the patterns; * is any characters, case is ignored."""
    found = header[tag].casefold()
    return bool(found) and any(_is_like(found, pattern.casefold()) for pattern in patterns)


def _is_like(text: str, pattern: str) -> bool:
    """Say whether a text has a pattern's parts in order, from its beginning to its end; only * is special."""
    first, *parts = pattern.split("*")
    if not parts:
        return text == first
    if not text.startswith(first):
        return False
    place = len(first)
    for part in parts[:-1]:
        found = text.find(part, place)
        if found < 0:
            return False
        place = found + len(part)
    return len(text) - place >= len(parts[-1]) and text.endswith(parts[-1])


def _labels(path: Path, key: str, own: Mapping[str, str]) -> tuple[dict[str, str], list[LeftOut]]:
    columns = (key, "label")
    lines = read_table(
        path, "data.dicom.labels", names=columns, required=columns, needed=columns, own=own
    ).lines
    table: dict[str, str] = {}
    left_out = []
    for line in lines:
        name, label = line.cells.get(key, "").strip(), line.cells.get("label", "").strip()
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
