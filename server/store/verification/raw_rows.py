"""Reading rows as they lie in the database, for looking at what may have been tampered with.

In: a table. Out: values that no type of SQLAlchemy has turned into others, the same for both databases: a date that is
none, or JSON that is broken, is a value here and no failure.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

Row = tuple[Any, ...]
_AT_ONCE: Final = 500
_FORM: Final = "%Y-%m-%d %H:%M:%S.%f"  # of times in SQLite, UTC


def raw_rows(
    connection: sa.Connection, columns: Sequence[sa.Column[Any]], order: sa.ColumnElement[Any] | None = None
) -> Iterator[Row]:
    """Yield the rows of one table, some at a time."""
    query = sa.select(*(_untyped(connection, column) for column in columns)).select_from(columns[0].table)
    query = query if order is None else query.order_by(order)
    for row in connection.execute(query.execution_options(yield_per=_AT_ONCE)):
        yield tuple(map(_plain, row))


def moment(value: Any) -> datetime:
    """Return the time that a raw value stands for; `ValueError` unless it is written as SQLite has it."""
    found = datetime.strptime(value, _FORM).replace(tzinfo=UTC) if isinstance(value, str) else None
    if found is None or found.strftime(_FORM) != value:
        raise ValueError("is no time")
    return found


def _untyped(connection: sa.Connection, column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    if isinstance(column.type, sa.JSON) and connection.dialect.name != "sqlite":
        return sa.cast(column, sa.Text)  # PostgreSQL keeps the text of JSON; its driver would read it
    return sa.type_coerce(column, sa.types.NullType())


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime(_FORM)
    if isinstance(value, bool):
        return int(value)
    return bytes(value) if isinstance(value, memoryview) else value
