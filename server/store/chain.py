"""The chain of records: each one's hash covers it and all before it from the same source.

In: bodies, in order. Out: envelopes with a sequence number and a hash, and the check that a run of them follows.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from pydantic import Field, TypeAdapter

from server.store.records import AnyBody, Body
from shared.config import Digest, Frozen

GENESIS = "0" * 64
_BODY: TypeAdapter[Any] = TypeAdapter(AnyBody)


class Record(Frozen):
    """One link: `seq` counts from 1 within its source, `time` is the sender's clock (UTC), `body` canonical JSON.

    `chain` is SHA-256 over the hash before it and everything else of the record.
    """

    seq: int = Field(ge=1)
    study_uid: str = Field(max_length=64)
    kind: str
    time: datetime
    body: str
    chain: Digest

    def read(self) -> Any:
        """Return the body as its own frozen form; pydantic's `ValidationError` where it is none."""
        return _BODY.validate_json(self.body)


def canonical(value: Any) -> str:
    """Return sorted, compact JSON: equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def link(before: str, seq: int, study_uid: str, body: Body, time: datetime | None = None) -> Record:
    """Return the record that follows the hash `before`."""
    plain = body.model_dump(mode="json")
    moment = (time or datetime.now(UTC)).astimezone(UTC)
    text, kind = canonical(plain), str(plain["kind"])
    parts = (seq, study_uid, kind, moment, text)
    return Record(
        seq=seq, study_uid=study_uid, kind=kind, time=moment, body=text, chain=chain_hash(before, *parts)
    )


def chain_hash(before: str, seq: int, study_uid: str, kind: str, time: datetime, body: str) -> str:
    """Return the hash of one record after `before`."""
    moment = time.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(canonical([before, seq, study_uid, kind, moment, body]).encode()).hexdigest()


def follows(before: str, record: Record) -> bool:
    """Tell whether a record's hash is that of its content after `before`."""
    return record.chain == chain_hash(
        before, record.seq, record.study_uid, record.kind, record.time, record.body
    )
