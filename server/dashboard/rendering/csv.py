"""Figures as CSV, for people who count again.

In: a head and rows of words. Out: a file in UTF-8. A cell that a spreadsheet would run as a formula is kept as text.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from starlette.responses import Response

_FORMULAS: Final = ("=", "+", "@", "\t", "\r")


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return the table as CSV with a line end of one newline; None is an empty cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(one) for one in row] for row in rows)
    return out.getvalue()


def csv_response(name: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> Response:
    """Return the table as a download called `name`.csv."""
    disposition = f'attachment; filename="{name}.csv"'
    return Response(
        csv_text(head, rows),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": disposition},
    )


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    is_number = isinstance(value, int | float)
    return f"'{text}" if text.startswith(_FORMULAS) or (text.startswith("-") and not is_number) else text
