"""Rules of reading a table line by line."""

from pathlib import Path

import pytest

from shared.data.tables.csv_lines import read_names, read_table, unfit_path
from shared.errors import DataError

MAX_LINE = 1 << 20


def table(path: Path, *lines: bytes, end: bytes = b"\n") -> Path:
    """Write a table with the columns a, b and c."""
    path.write_bytes(end.join([b"a,b,c", *lines, b""]))
    return path


@pytest.mark.parametrize(
    ("line", "problem", "cells"),
    [
        (b'1,"two, too",3', "", ["1", "two, too", "3"]),
        (b'1,"say ""two""",3', "", ["1", 'say "two"', "3"]),
        (b'1,5" of film,3', "", ["1", '5" of film', "3"]),
        (b"1,2,3,,", "", ["1", "2", "3"]),
        (b"1,2,3,4", "record_cells", ["1", "2", "3"]),
        (b"1,2", "record_cells", ["1", "2", ""]),
        (b'1,"2,3', "record_quotes", ["1", "", ""]),
        (b"1,\xff,3", "record_encoding", ["1", "\udcff", "3"]),
        (b'1,"' + b"x" * 200_000 + b'",3', "record_long", []),
        (b"1," + b"x" * MAX_LINE + b",3", "record_long", []),
    ],
)
def test_what_is_wrong_with_a_line_is_that_lines_alone(
    tmp_path: Path, line: bytes, problem: str, cells: list[str]
) -> None:
    """Quotes, bytes, lengths and numbers of cells are judged line by line; the lines around are read as ever."""
    first, found, last = read_table(table(tmp_path / "t.csv", b"x,y,z", line, b"u,v,w")).lines
    assert [first.problem, last.problem] == ["", ""]
    assert list(first.cells.values()) + list(last.cells.values()) == list("xyzuvw")
    assert (found.number, found.problem, list(found.cells.values())) == (3, problem, cells)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_lines_end_as_any_system_ends_them(tmp_path: Path, end: bytes) -> None:
    """Line feeds, carriage returns and both end a line, and lines without a filled cell are none."""
    found = read_table(table(tmp_path / "t.csv", b"1,2,3", b"", b",,", b"  ", b"4,5,6", end=end))
    assert [list(one.cells.values()) for one in found.lines] == [["1", "2", "3"], ["4", "5", "6"]]


def test_cells_may_be_missing_behind_the_columns_that_are_needed(tmp_path: Path) -> None:
    """A spreadsheet leaves empty cells out at the end of a line: that is no problem where none of them is needed."""
    found = read_table(table(tmp_path / "t.csv", b"1,2", b"1"), needed=("b",))
    assert [one.problem for one in found.lines] == ["", "record_cells"]


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        (b"a;b\n1,1,1,1;2\n", ["1,1,1,1", "2"]),
        (b"\xef\xbb\xbfa;b\r\n1;2\r\n", ["1", "2"]),
        (b"a\tb\n1,1\t2\n", ["1,1", "2"]),
        (b"sep=,\na,b\n1,2\n", ["1", "2"]),
        (b"\xef\xbb\xbfsep=;\r\na;b\r\n1;2\r\n", ["1", "2"]),
        (b'"sep=|"\na|b\n1|2\n', ["1", "2"]),
        (b"SEP=\t\na\tb\n1\t2\n", ["1", "2"]),
        (b'"a","b"\n1,2\n', ["1", "2"]),
        (b"A, B \n1,2\n", ["1", "2"]),
        (b"other;b;a\n0;2;1\n", ["1", "2"]),
        (b"a,b,note;note;note;note\n1,2,3\n", ["1", "2"]),
    ],
)
def test_the_header_says_how_cells_are_separated(tmp_path: Path, text: bytes, cells: list[str]) -> None:
    """Comma, semicolon and tab, a line that names another, a mark of byte order, other cases and spaces."""
    path = tmp_path / "t.csv"
    path.write_bytes(text)
    found = read_table(path, names=("a", "b"), required=("a", "b"))
    assert [[one.cells["a"], one.cells["b"]] for one in found.lines] == [cells]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"a,\xff\n1,2\n", "is not UTF-8 but perhaps Windows-1252"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16, needed is UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-be"), "is UTF-16 or no text at all"),
        (b"\xff\xfe\0\0a\0\0\0", "is UTF-32"),
        (b"a,b,A\n1,2,3\n", r"has 2 columns a \('a' and 'A'\), allowed is one"),
        (b"a,c;d\n1,2\n", r"has no column b, needed are a and b; found are 'a', 'c;d', separated by a comma"),
        (b"", "has no column a and b, needed are a and b; it is empty"),
        (b'a,b,"' + b"x" * 200_000 + b'"\n', "more than 131,072 characters"),
        (None, "there is no such file"),
    ],
)
def test_what_is_wrong_with_a_header_is_nobodys_record(tmp_path: Path, text: bytes | None, why: str) -> None:
    """It is an error of the table, which says what was found."""
    path = tmp_path / "t.csv"
    if text is not None:
        path.write_bytes(text)
    with pytest.raises(DataError, match=why):
        read_table(path, names=("a", "b"), required=("a", "b"))


@pytest.mark.parametrize("line", [b",,", b" , ,\t", b'"","",""', b",,,,,,", b",", b'"",""'])
def test_a_line_without_a_filled_cell_is_no_record(tmp_path: Path, line: bytes) -> None:
    """However many empty cells a spreadsheet leaves behind the last row."""
    found = read_table(table(tmp_path / "t.csv", b"1,2,3", line))
    assert [list(one.cells.values()) for one in found.lines] == [["1", "2", "3"]]


def test_a_list_has_a_name_a_line(tmp_path: Path) -> None:
    """Remarks and blank lines are passed over, and a name that is no UTF-8 is its own line's problem."""
    (tmp_path / "l.txt").write_bytes(b"\xef\xbb\xbf# remark\na.dcm\n\n\xff.dcm\n b,c.dcm \n")
    found = read_names(tmp_path / "l.txt")
    assert [one.problem for one in found.lines] == ["", "record_encoding", ""]
    assert [found.lines[0].cells["file"], found.lines[2].cells["file"]] == ["a.dcm", "b,c.dcm"]


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("a" * 255, ""),
        ("a" * 256, "record_path"),
        ("ä" * 128, "record_path"),
        ("a/" * 2047, ""),
        ("a/" * 2048, "record_path"),
        ("a\0", "record_text"),
        ("a\nb", "record_text"),
        ("\udcff", "record_text"),
    ],
)
def test_a_path_that_no_file_can_have(name: str, word: str) -> None:
    """A name has at most 255 bytes and a path 4,096, in UTF-8, without NUL or line break."""
    assert unfit_path(name) == word
