"""Making the tables that pages read anew, from the records alone.

In: a writing transaction. Out: the same tables, as this version's projections make them. Evidence is only read.
"""

from collections.abc import Iterator
from typing import Final

import sqlalchemy as sa
from pydantic import ValidationError

from server.store.chain import Record
from server.store.projections import project
from server.store.row_writer import Rows
from server.store.schema import PROJECTED, RECORDS
from shared.errors import StoreError

_AT_ONCE: Final = 1000
_FIELDS: Final = tuple(RECORDS.c[name] for name in Record.model_fields)


def rebuild(connection: sa.Connection) -> int:
    """Empty the tables and fill them again; returns the number of records. `StoreError` for one that cannot be read."""
    for table in reversed(PROJECTED):
        connection.execute(sa.delete(table))
    return project_all(connection, connection)


def project_all(evidence: sa.Connection, tables: sa.Connection) -> int:
    """Project all records of one database into the empty tables of the same or another."""
    count = 0
    for some in _in_order(evidence):
        rows = Rows(tables)
        for number, source, record in some:
            try:
                project(rows, number, source, record, record.read())
            except ValidationError as error:
                raise StoreError(
                    f"record {record.seq} of {source}: cannot be read; run rounds-hub store verify"
                ) from error
        rows.flush()
        count += len(some)
    return count


def _in_order(connection: sa.Connection) -> Iterator[list[tuple[int, str, Record]]]:
    """Yield the records by their numbers, some at a time: drivers would otherwise hold all bodies in memory."""
    last = 0
    query = sa.select(RECORDS.c.id, RECORDS.c.source, *_FIELDS).order_by(RECORDS.c.id).limit(_AT_ONCE)
    while rows := connection.execute(query.where(RECORDS.c.id > last)).all():
        yield [
            (row.id, row.source, Record(**{name: getattr(row, name) for name in Record.model_fields}))
            for row in rows
        ]
        last = rows[-1].id
