"""The chain of records: each one's hash covers it and all before it from the same source.

In: bodies, in order. Out: envelopes with a sequence number and a hash, and the check that a run of them follows. A
store seals what it took, whatever the source, by a second chain of its own.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, LiteralString

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from server.store.record_kinds import AnyBody, Body
from shared.config.values import Digest, Frozen

GENESIS = "0" * 64
STUDY_UID: Final = r"^[A-Za-z0-9_-]{0,64}$"  # empty: of no study
# NUL as JSON writes it; after a backslash that is itself escaped it is text
_NUL: Final = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_BODY: TypeAdapter[Any] = TypeAdapter(AnyBody)


class Record(Frozen):
    """One link: `seq` counts from 1 within its source, `time` is the sender's clock (UTC), `body` canonical JSON.

    `chain` is SHA-256 over the hash before it and everything else of the record.
    """

    seq: int = Field(ge=1)
    study_uid: str = Field(pattern=STUDY_UID)
    kind: str
    time: AwareDatetime
    body: str
    chain: Digest

    def read(self) -> Any:
        """Return the body as its own frozen form; pydantic's `ValidationError` where it is none of this kind."""
        if _kept(self.body) != self.body:
            raise _refused("holds signs that no database keeps")
        body = _BODY.validate_json(self.body)
        if body.kind != self.kind:
            raise _refused("is of another kind than its record")
        return body


def _refused(why: LiteralString) -> ValidationError:
    wrong = InitErrorDetails(type=PydanticCustomError("body", why), input="")
    return ValidationError.from_exception_data("body", [wrong])


def canonical(value: Any) -> str:
    """Return sorted, compact JSON: equal values have equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def link(before: str, seq: int, study_uid: str, body: Body, time: datetime | None = None) -> Record:
    """Return the record that follows the hash `before`."""
    plain = body.model_dump(mode="json")
    moment = (time or datetime.now(UTC)).astimezone(UTC)
    text, kind = _kept(canonical(plain)), str(plain["kind"])
    parts = (seq, study_uid, kind, moment, text)
    return Record(
        seq=seq, study_uid=study_uid, kind=kind, time=moment, body=text, chain=chain_hash(before, *parts)
    )


def _kept(text: str) -> str:
    """Return JSON that both databases keep: NUL, and halves of surrogate pairs, become signs of what is lost."""
    if "\\u0000" in text:
        text = _NUL.sub("\\1\ufffd", text)
    return text if text.isascii() else text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def chain_hash(before: str, seq: int, study_uid: str, kind: str, time: datetime, body: str) -> str:
    """Return the hash of one record after `before`: of one line of canonical JSON, and the body."""
    moment = time.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(f"{canonical([before, seq, study_uid, kind, moment])}\n{body}".encode()).hexdigest()


def seal(before: str, number: int, source: str, chain: str, received: datetime, blobs: Sequence[Any]) -> str:
    """Return the hash by which a store seals its record `number` after all that it took before.

    It covers what no source vouches for: order among sources, time of arrival, and kind and size of the named blobs.
    """
    moment = received.astimezone(UTC).isoformat(timespec="microseconds")
    return hashlib.sha256(canonical([before, number, source, chain, moment, blobs]).encode()).hexdigest()


def follows(before: str, record: Record) -> bool:
    """Tell whether a record's hash is that of its content after `before`."""
    return record.chain == chain_hash(
        before, record.seq, record.study_uid, record.kind, record.time, record.body
    )
