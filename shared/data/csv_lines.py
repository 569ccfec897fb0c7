"""A table read line by line: bytes come in, each line's cells or what is wrong with it go out.

Every physical line is a record of its own, whatever stands in the lines around it: an open quotation mark swallows no
line after it, and a byte that is no UTF-8 spoils its own line alone. A cell can therefore hold no line break.
"""

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_LINE = 1 << 20  # characters; csv itself takes 131,072 in a cell
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 4096  # what Linux allows for one part of a path and for all of it

# What a strict reading says of a line or of its identifiers and paths; {} is the place.
LINE_REFUSALS = {
    "record_encoding": "{} is not UTF-8; save the table in UTF-8",
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
    """A header and the lines below it, those without any cell filled in left out."""

    columns: tuple[str, ...]
    lines: tuple[Line, ...]


def read_table(
    path: Path, *, separators: str = ",", needed: Collection[str] | None = None, remark: str | None = None
) -> Table:
    """Read a table in UTF-8; of several `separators` the one that the header has most often counts.

    A line that ends before one of the `needed` columns (default: any) has too few cells. Lines that begin with
    `remark` are passed over.
    Errors: OSError, UnicodeDecodeError or csv.Error for the file or its header, which are nobody's record.
    """
    numbered = [
        (number, raw)
        for number, raw in enumerate(_physical_lines(path), 1)
        if raw is None or remark is None or not raw.startswith(remark.encode())
    ]
    text = ((numbered[0][1] if numbered else b"") or b"").decode("utf-8-sig")
    separator = max(separators, key=text.count)
    columns = tuple(next(csv.reader([text], delimiter=separator), []))
    wanted = set(columns) if needed is None else set(needed)
    least = max((columns.index(name) + 1 for name in wanted & set(columns)), default=0)
    found = (
        _line(number, raw, columns, separator, least)
        for number, raw in numbered[1:]
        if raw is None or raw.strip()
    )
    return Table(columns, tuple(one for one in found if one.problem or any(one.cells.values())))


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


def read_names(path: Path) -> Table:
    """Read a list without a header, one name a line, as a table of the one column file; # begins a remark.

    Errors: OSError for a file that cannot be read.
    """
    lines = []
    for number, raw in enumerate(_physical_lines(path), 1):
        text = (raw or b"").decode("utf-8-sig" if number == 1 else "utf-8", errors="surrogateescape").strip()
        if raw is None:
            lines.append(Line(number, {}, "record_long"))
        elif text and not text.startswith("#"):
            lines.append(Line(number, {"file": text}, "" if _is_unicode(text) else "record_encoding"))
    return Table(("file",), tuple(lines))
