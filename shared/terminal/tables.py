"""Tables of text: as wide as the terminal, and never cut where a program reads them.

In: rows of cells, which may hold anything from outside. Out: a table that shows them as they are.
"""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDTH = 160  # where there is no terminal


def wide_console() -> Console:
    """Return a console of the terminal's own width, or wide enough for a table where there is no terminal."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def plain_table(columns: Iterable[str], rows: Iterable[Iterable[str | Text]]) -> Table:
    """Return a table without lines; no cell is read as markup."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(Text(column))
    for row in rows:
        table.add_row(*(Text(printable(cell)) if isinstance(cell, str) else cell for cell in row))
    return table


def printable(name: str) -> str:
    """Return a text that any terminal takes: bytes of a file's name that are no UTF-8 are escaped."""
    return name.encode(errors="backslashreplace").decode()
