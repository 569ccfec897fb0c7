"""A table read line by line: bytes come in, each line's cells or what is wrong with it go out.

Every physical line is a record of its own, whatever stands in the lines around it: an open quotation mark swallows no
line after it, and a byte that is no UTF-8 spoils its own line alone. A cell can therefore hold no line break.
"""

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.data.tables.csv_header import read_header, refuse_lack
from shared.errors import DataError

_BLANK = b" \t\"'"  # a line of these and separators alone has no cell filled in
MAX_LINE = 1 << 20  # characters; csv itself takes 131,072 in a cell
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4096  # what Linux allows for one part of a path and for all of it

# What a strict reading says of a line or of its identifiers and paths; {} is the place.
LINE_REFUSALS = {
    "record_encoding": "{} is not UTF-8 but perhaps Windows-1252; save the table as 'CSV UTF-8'",
    "record_quotes": "{} has a quotation mark that is not closed, allowed are cells without line breaks; close it",
    "record_long": "{} or one of its cells is too long, allowed are 131,072 characters in a cell; shorten it",
    "record_cells": "{} has too few or too many cells, needed is one for each column; correct it",
    "record_text": "{} has an identifier or path that is not UTF-8 or holds a NUL or line break; rename it",
    "record_path": "{} has a path longer than a system allows (255 bytes a name, 4,096 in all); shorten it",
}


@dataclass(frozen=True)
class Line:
    """One line's cells by column; `problem` is "" or a word of `shared/data/image_problems.py`.

    Cells of a line with a problem are as far as they could be read: they say whose line it is, and nothing more.
    """

    number: int
    cells: dict[str, str]
    problem: str = ""


@dataclass(frozen=True)
class Table:
    """A header, by the reader's own names of columns, and the lines below it that have a cell filled in."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def read_table(
    path: Path,
    what: str = "table",
    *,
    names: Collection[str] = (),
    required: Collection[str] = (),
    needed: Collection[str] | None = None,
    remark: str | None = None,
    own: Mapping[str, str] | None = None,
) -> Table:
    """Read a table in UTF-8, separated as its header says; `names` are the columns that the caller reads.

    `own` says by name what the table itself calls a column.
    A line that ends before one of the `needed` columns (default: any) has too few cells. Lines that begin with
    `remark` are passed over, and lines without any cell filled in are none.
    Errors: `DataError` for the file or its header, which are nobody's record; it calls the table `what`.
    """
    named = f"{what} {path}"
    numbered = [
        (number, raw)
        for number, raw in enumerate(_told_lines(path, named), 1)
        if raw is None or remark is None or not raw.startswith(remark.encode())
    ]
    header = read_header([raw for _, raw in numbered[:2]], names, named, own)
    refuse_lack(header, required, named, own)
    columns = header.columns
    wanted = set(columns) if needed is None else set(needed)
    least = max((columns.index(name) + 1 for name in wanted & set(columns)), default=0)
    found = (
        _line(number, raw, columns, header.separator, least)
        for number, raw in numbered[header.num_lines :]
        if raw is None or raw.strip(_BLANK + header.separator.encode())
    )
    return Table(columns, tuple(found))


def unfit_text(*values: str) -> str:
    """Return the word for an identifier or path that cannot be used, "" where all can."""
    for value in values:
        if any(mark in value for mark in "\0\n\r") or not _is_unicode(value):
            return "record_text"
    return ""


def unfit_path(name: str) -> str:
    """Return the word for a path that no file can have, "" for any other."""
    if unfit_text(name):
        return "record_text"
    parts = name.encode().split(b"/")
    too_long = max(map(len, parts)) > MAX_NAME_BYTES or sum(map(len, parts)) + len(parts) > MAX_PATH_BYTES
    return "record_path" if too_long else ""


def beside(folder: Path, name: str) -> Path:
    """Look for a relative path in a folder, then in that folder's parent; by itself, whatever else is named."""
    here, above = folder / name, folder.parent / name
    return above if not exists(here) and exists(above) else here


def exists(path: Path) -> bool:
    """Say whether there is a file or folder; False too where nobody can ask."""
    try:
        return path.exists()
    except (OSError, ValueError):  # no permission, a part too long, a NUL
        return False


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # a file name of other bytes, which Python keeps as lone surrogates
        return False
    return True


def _physical_lines(path: Path) -> Iterator[bytes | None]:
    r"""Yield lines that end with \n, \r\n or \r, without their end; None for one longer than `MAX_LINE`."""
    with path.open("rb") as raw, io.TextIOWrapper(raw, "latin-1", newline=None) as text:  # a byte a character
        while line := text.readline(MAX_LINE + 1):
            if len(line) <= MAX_LINE or line.endswith("\n"):
                yield line.removesuffix("\n").encode("latin-1")
                continue
            while line and not line.endswith("\n"):
                line = text.readline(MAX_LINE)
            yield None


def _told_lines(path: Path, named: str) -> Iterator[bytes | None]:
    """Yield the lines of a file; `DataError` says why there are none."""
    try:
        yield from _physical_lines(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{named} cannot be read: {cause(path, error)}; check the path") from None


def cause(path: Path, error: Exception) -> str:
    """Say in a few words why a file cannot be opened."""
    if not exists(path):
        return "there is no such file"
    return "it is a folder" if path.is_dir() else getattr(error, "strerror", None) or "no file has this name"


def _line(number: int, raw: bytes | None, columns: Sequence[str], separator: str, least: int) -> Line:
    if raw is None:
        return Line(number, {}, "record_long")
    text, problem = raw.decode("utf-8", errors="surrogateescape"), ""
    if not _is_unicode(text):
        problem = "record_encoding"
    try:
        # a quotation mark that is still open at the end of a line would take in the line after it
        cells, *closed = csv.reader([text, "end"], delimiter=separator)
    except csv.Error:
        return Line(number, {}, problem or "record_long")
    if not closed:
        cells, problem = cells[:-1], problem or "record_quotes"
    elif len(cells) < least or any(cells[len(columns) :]):
        problem = problem or "record_cells"
    return Line(
        number, dict(zip(columns, [*cells, *[""] * (len(columns) - len(cells))], strict=False)), problem
    )


def read_names(path: Path, what: str = "list") -> Table:
    """Read a list without a header, one name a line, as a table of the one column file; # begins a remark.

    Errors: `DataError` for a file that cannot be read; it calls the list `what`.
    """
    lines = []
    for number, raw in enumerate(_told_lines(path, f"{what} {path}"), 1):
        if number == 1:
            read_header([raw], (), f"{what} {path}")  # a list in another coding is told by name
        text = (raw or b"").decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape").strip()
        if raw is None:
            lines.append(Line(number, {}, "record_long"))
        elif text and not text.startswith("#"):
            lines.append(Line(number, {"file": text}, "" if _is_unicode(text) else "record_encoding"))
    return Table(("file",), tuple(lines))
