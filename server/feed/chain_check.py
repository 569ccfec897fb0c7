"""Are the chains of a store whole? Looked at before the feed adds to them.

Chains only: a store put back from a backup lacks its blobs until the feed has brought them again. The whole is looked
at by `rounds-hub store verify`.
"""

import sqlalchemy as sa
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from server.store.append import Head
from server.store.chain import Record, follows
from server.store.schema import RECORDS
from shared.errors import StoreError

_COLUMNS = [RECORDS.c[name] for name in ("source", *Record.model_fields)]


def check_chains(store: sa.Engine) -> int:
    """Return how many records were looked at; `StoreError` for the first that does not follow the one before it."""
    number, source, head = 0, "", Head()
    try:
        with store.connect() as connection:
            for row in connection.execute(sa.select(*_COLUMNS).order_by(RECORDS.c.source, RECORDS.c.seq)):
                number += 1
                if row.source != source:
                    source, head = row.source, Head()
                if not _follows(head, row):
                    raise StoreError(
                        f"store: record {row.seq} of {source} does not follow the one before it; look by `rounds-hub "
                        "store verify`, and put a backup in its place"
                    )
                head = Head(row.seq, row.chain)
    except SQLAlchemyError as error:
        raise StoreError("store: cannot be read; check that its database runs") from error
    return number


def _follows(head: Head, row: sa.Row[tuple[object, ...]]) -> bool:
    try:
        record = Record(**{name: getattr(row, name) for name in Record.model_fields})
    except ValidationError:
        return False
    return record.seq == head.seq + 1 and follows(head.chain, record)
