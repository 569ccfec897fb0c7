"""A request arrives as it was sent or not at all."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from shared.errors import StudyError
from shared.messages import requests as records
from shared.messages.requests import Request, RequestHeader, decode_request, encode_request
from shared.models.arrays import Arrays, arrays_digest

WEIGHTS: Arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(2, np.float32)}


def header(weights: Arrays = WEIGHTS) -> RequestHeader:
    """Return the header that goes with the weights."""
    return RequestHeader(
        study_uid="a" * 32,
        round=3,
        kind="train",
        study_json="{}",
        base_digest=arrays_digest(weights),
        code_digest="c" * 64,
    )


def packed(fields: object, weights: Arrays = WEIGHTS) -> bytes:
    """Return a message with any header at all."""
    return save(dict(weights), metadata={"request": json.dumps(fields)})


def with_json(text: bytes, rest: bytes = b"") -> bytes:
    """Return a safetensors frame around any header bytes."""
    return struct.pack("<Q", len(text)) + text + rest


@pytest.mark.parametrize("weights", [WEIGHTS, {}])
def test_there_and_back(weights: Arrays) -> None:
    """A decoded request equals the one that was encoded, with and without weights."""
    back = decode_request(encode_request(Request(header(weights), weights)))
    assert back.header == header(weights)
    assert back.weights.keys() == weights.keys()
    assert all(np.array_equal(back.weights[name], weights[name]) for name in weights)


def test_altered_weights_are_refused() -> None:
    """A single changed bit of a weight no longer fits the base digest."""
    payload = bytearray(encode_request(Request(header(), WEIGHTS)))
    payload[-1] ^= 1
    with pytest.raises(StudyError, match="base_digest"):
        decode_request(bytes(payload))


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, np.uint8, np.bool_])
def test_other_types_are_refused(dtype: type) -> None:
    """Weights that are not float32 are refused even where their digest fits."""
    weights = {"w": np.ones((2, 2), dtype)}
    with pytest.raises(StudyError, match="float32"):
        decode_request(packed(header(weights).model_dump(), weights))


@pytest.mark.parametrize(
    "change",
    [
        {"study_uid": "../../etc"},
        {"round": -1},
        {"round": "three"},
        {"kind": "erase"},
        {"base_digest": "abc"},
        {"study_json": 5},
        {"extra": 1},
        {"code_digest": None},
    ],
)
def test_a_wrong_header_is_refused(change: dict[str, object]) -> None:
    """A header field of another type or form, or one too many, is refused without a word of its content."""
    with pytest.raises(StudyError) as refused:
        decode_request(packed(header().model_dump() | change))
    assert str(refused.value) == "request: is malformed; hub and site must run the same version"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0" * 8,
        b"\xff" * 64,
        with_json(b"{}"),
        with_json(b"[]"),
        with_json(b'{"__metadata__": []}'),
        with_json(b'{"__metadata__": {"request": 5}}'),
        with_json(b'{"__metadata__": {"other": "x"}}'),
        with_json(b'"text"'),
        with_json(b"[" * 100_000),
        with_json(b'{"__metadata__": {"request": "' + b"[" * 100_000 + b'"}}'),
        with_json(b"\xff\xfe{}"),
        save(dict(WEIGHTS)),
    ],
)
def test_a_foreign_message_is_refused(payload: bytes) -> None:
    """Bytes that are no request of this system are one StudyError, whatever they are."""
    with pytest.raises(StudyError, match="malformed"):
        decode_request(payload)


def test_a_huge_message_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message over the limit is refused by its length alone."""
    payload = encode_request(Request(header(), WEIGHTS))
    monkeypatch.setattr(records, "MAX_REQUEST_BYTES", len(payload) - 1)
    with pytest.raises(StudyError, match="allowed are at most"):
        decode_request(payload)


def test_damage_of_any_kind_is_refused_or_harmless() -> None:
    """Random damage gives a StudyError or the very same request, never another exception or other weights."""
    payload = encode_request(Request(header(), WEIGHTS))
    generator = np.random.default_rng(0)
    num_refused = 0
    for _ in range(2000):
        damaged = bytearray(payload)
        match generator.integers(3):
            case 0:
                damaged = damaged[: generator.integers(len(payload))]
            case 1:
                damaged[generator.integers(len(payload))] = generator.integers(256)
            case _:
                damaged[:0] = generator.bytes(int(generator.integers(1, 16)))
        try:
            request = decode_request(bytes(damaged))
        except StudyError:
            num_refused += 1
        else:
            assert arrays_digest(request.weights) == header().base_digest
    assert num_refused > 1000
