"""How is a table written, and which columns has it? Its first lines come in; separator and columns go out.

Spreadsheets separate by comma, semicolon or tab, say so in a line `sep=;`, and spell a column File, file or FILE.
All of it is read from the header alone, which is nobody's record; what cannot be read is told by its name.
"""

import codecs
import csv
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from shared.errors import DataError

SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
MAX_SHOWN = 8  # columns named in an error
_BOMS = ((codecs.BOM_UTF32_LE, "UTF-32"), (codecs.BOM_UTF16_LE, "UTF-16"), (codecs.BOM_UTF16_BE, "UTF-16"))


@dataclass(frozen=True)
class Header:
    """The separator, the columns by the reader's names where it has one, and how many lines come before records."""

    separator: str
    columns: tuple[str, ...]
    num_lines: int


def read_header(
    first: Sequence[bytes | None], names: Collection[str], what: str, own: Mapping[str, str] | None = None
) -> Header:
    """Read the header of a table from its first lines; `names` are the columns that the reader knows.

    A column is known by its letters and digits alone: PatientID, "Patient ID" and patient_id are one name. `own` says
    by name what the table itself calls a column; one that is called by our name is then another, and not read.
    Errors: `DataError` for a table in another coding, or with two columns of one known name.
    """
    lines = [(raw or b"").removeprefix(codecs.BOM_UTF8) for raw in first[:2]]
    raw = lines[0] if lines else b""
    for bom, coding in _BOMS:
        if raw.startswith(bom):
            raise DataError(f"{what} is {coding}, needed is UTF-8; save it as 'CSV UTF-8'")
    if b"\0" in raw[:4]:
        raise DataError(f"{what} is UTF-16 or no text at all, needed is UTF-8; save it as 'CSV UTF-8'")
    said, num_lines = _said(raw), 1
    if said and len(lines) > 1:
        raw, num_lines = lines[1], 2
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise DataError(
            f"{what} has a header that is not UTF-8 but perhaps Windows-1252; save it as 'CSV UTF-8'"
        ) from None
    own = {name: called for name, called in (own or {}).items() if name in names}
    known = {plain_column(own.get(name, name)): name for name in names}
    other = {plain_column(name) for name in own} - set(known)
    separator = said or max(SEPARATORS, key=lambda one: _fit(text, one, known))
    try:
        cells = next(csv.reader([text], delimiter=separator), [])
    except csv.Error:
        raise DataError(
            f"{what} has a header with a cell of more than 131,072 characters; correct it"
        ) from None
    columns = tuple(
        f"{cell} (not read)" if plain_column(cell) in other else known.get(plain_column(cell), cell)
        for cell in cells
    )
    for name in known.values():
        if columns.count(name) > 1:
            shown = " and ".join(repr(cell) for cell in cells if known.get(plain_column(cell)) == name)
            raise DataError(
                f"{what} has {columns.count(name)} columns {name} ({shown}), allowed is one; remove one"
            )
    return Header(separator, columns, num_lines)


def refuse_lack(
    header: Header, needed: Collection[str], what: str, own: Mapping[str, str] | None = None
) -> None:
    """Refuse a table without one of the needed columns; `DataError` names what was found instead."""
    called = {name: f"{own[name]} (for {name})" if own and name in own else name for name in needed}
    missing = [name for name in needed if name not in header.columns]
    if missing:
        found = [repr(name[:40]) for name in header.columns]
        more = f" and {len(found) - MAX_SHOWN} more" if len(found) > MAX_SHOWN else ""
        by = SEPARATORS.get(header.separator, repr(header.separator))
        shown = (
            f"found are {', '.join(found[:MAX_SHOWN])}{more}, separated by {by}" if found else "it is empty"
        )
        hint = "" if own is None else " (a hospital may name its own columns in its site.yaml)"
        raise DataError(
            f"{what} has no column {' and '.join(called[name] for name in missing)}, needed are "
            f"{' and '.join(called.values())}; {shown}; correct its first line{hint}"
        )


def plain_column(name: str) -> str:
    """Return what makes two spellings of a column one: its letters and digits."""
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(mark for mark in text if mark.isalnum()) or text.strip()


def _said(raw: bytes) -> str:
    """Return the separator that a line such as `sep=;` names, "" for any other line."""
    text = raw.decode("latin-1").strip(' "\r').casefold()
    text = text if text.startswith("sep=") else ""
    # a tab, or a comma that filled the row up, may have been stripped or follow
    return text[4:5] or ("\t" if text else "")


def _fit(text: str, separator: str, known: Collection[str]) -> tuple[int, int]:
    cells = text.split(separator)
    return sum(plain_column(cell.strip('" ')) in known for cell in cells), len(cells)
