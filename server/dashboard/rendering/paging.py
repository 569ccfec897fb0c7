"""One page of a long list, cut in the database.

In: a query's rows and their number. Out: what a page shows, and where the ones before and after are.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Generic, TypeVar
from urllib.parse import urlencode

from fastapi import Query

Row = TypeVar("Row")
PageNumber = Annotated[int, Query(alias="page", ge=1, le=1_000_000)]


@dataclass(frozen=True)
class Paged(Generic[Row]):
    """Rows of page `number` (from 1); `asked` are the other values of the address."""

    rows: tuple[Row, ...]
    number: int
    size: int
    total: int
    path: str = ""
    asked: Mapping[str, str] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The number of the last page."""
        return max(1, -(-self.total // self.size))

    @property
    def first_row(self) -> int:
        """The number of the first row shown, 0 where there is none."""
        return (self.number - 1) * self.size + 1 if self.rows else 0

    @property
    def last_row(self) -> int:
        """The number of the last row shown."""
        return self.first_row + len(self.rows) - 1 if self.rows else 0

    def url(self, number: int) -> str:
        """Return the address of another page."""
        values = {name: value for name, value in self.asked.items() if value}
        query = urlencode(values | ({"page": str(number)} if number > 1 else {}))
        return f"{self.path}?{query}" if query else self.path
