"""Records as messages of the feed, and back.

In: links of a chain. Out: protobuf messages with the same content, times exact to the microsecond; `ValidationError`
of pydantic for a message that is no record.
"""

from datetime import UTC
from typing import Final

from server.feed import feed_pb2 as wire
from server.store.append import Head
from server.store.chain import Record

MIB: Final = 2**20
MAX_MESSAGE_BYTES: Final = 7 * MIB  # no message is larger, in either direction
MAX_BATCH_RECORDS: Final = 500
MAX_BATCH_BYTES: Final = 2 * MIB  # of bodies, unless one record alone is larger
PIECE_BYTES: Final = MIB
MAX_DIGESTS: Final = 1000


def to_wire(record: Record) -> wire.Record:
    """Return a record as a message."""
    message = wire.Record(
        seq=record.seq,
        study_uid=record.study_uid,
        kind=record.kind,
        body=record.body,
        chain=record.chain,
    )
    message.time.FromDatetime(record.time)
    return message


def from_wire(message: wire.Record) -> Record:
    """Return a message's record."""
    return Record(
        seq=message.seq,
        study_uid=message.study_uid,
        kind=message.kind,
        time=message.time.ToDatetime(tzinfo=UTC),
        body=message.body,
        chain=message.chain,
    )


def head_to_wire(head: Head) -> wire.ChainHead:
    """Return the head of a chain as a message."""
    return wire.ChainHead(seq=head.seq, chain=head.chain)
