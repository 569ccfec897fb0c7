"""Are the chains of a store whole? Looked at before the feed adds to them."""

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from server.store.chain import GENESIS, Record, follows
from server.store.schema import RECORDS
from shared.errors import StoreError


def check_chains(store: sa.Engine) -> int:
    """Return how many records were looked at; `StoreError` for the first that does not follow the one before."""
    columns = [RECORDS.c[name] for name in ("source", *Record.model_fields)]
    source, before, seq, number = "", GENESIS, 0, 0
    try:
        with store.begin() as connection:
            for row in connection.execute(sa.select(*columns).order_by(RECORDS.c.source, RECORDS.c.seq)):
                if row.source != source:
                    source, before, seq = row.source, GENESIS, 0
                record = Record(**{name: getattr(row, name) for name in Record.model_fields})
                if record.seq != seq + 1 or not follows(before, record):
                    raise StoreError(
                        f"store: record {record.seq} of {source} does not follow the one before it; put the store "
                        "back from a backup"
                    )
                before, seq, number = record.chain, record.seq, number + 1
    except SQLAlchemyError as error:
        raise StoreError("store: cannot be read; check that its database runs") from error
    return number
