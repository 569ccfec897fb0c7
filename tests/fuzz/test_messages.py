"""Messages between hub and site, damaged or made up: a refusal in our own words, whoever sends what."""

import json
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.rounds.answer import answer
from shared.errors import ErrorCode, StudyError, WeightsError
from shared.messages.releases import ErrorRelease, Release, decode_release, encode_release
from shared.messages.requests import decode_request
from tests.fuzz.damage import damaged

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["train", "0" * 64, "\ud800", "../../etc/passwd", "1e999", "[" * 3000])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
)
SEARCH = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def with_header(whole: bytes, header: str) -> bytes:
    """Return a message with another JSON header, of the length that it says."""
    (length,) = struct.unpack_from("<Q", whole)
    raw = header.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(raw)) + raw + whole[8 + length :]


def changed(value: Any, draw: st.DataObject, made: Any) -> Any:
    """Put `made` somewhere into a tree of JSON, JSON inside strings included."""
    if isinstance(value, str) and value.startswith("{") and draw.draw(st.booleans()):
        return json.dumps(changed(json.loads(value), draw, made))
    if isinstance(value, dict) and value and draw.draw(st.integers(0, 3)):
        key = draw.draw(st.sampled_from(sorted(value)))
        return value | {key: changed(value[key], draw, made)}
    return made


def header_of(whole: bytes) -> Any:
    (length,) = struct.unpack_from("<Q", whole)
    return json.loads(whole[8 : 8 + length])


@pytest.fixture(scope="module")
def request_bytes(tiny_federation: Any) -> bytes:
    return tiny_federation.request("enrol", 0)


@pytest.fixture(scope="module")
def release_bytes() -> bytes:
    return encode_release(Release("a" * 32, 3, ErrorRelease(code=ErrorCode.FAILED)))


@pytest.mark.parametrize("what", ["request", "release"])
@SEARCH
@given(draw=st.data(), made=JSON)
def test_a_message_with_any_header_is_read_or_refused(
    request_bytes: bytes, release_bytes: bytes, what: str, draw: Any, made: Any
) -> None:
    """Whatever stands in a message's header, reading it gives a message or an error of ours."""
    read, whole = {"request": (decode_request, request_bytes), "release": (decode_release, release_bytes)}[
        what
    ]
    with suppress(StudyError, WeightsError):
        read(with_header(whole, json.dumps(changed(header_of(whole), draw, made))))


def test_damaged_messages_are_read_or_refused(request_bytes: bytes, release_bytes: bytes) -> None:
    """Two thousand damaged requests and answers, and made-up bytes: read as what they were, or refused."""
    num_refused = 0
    for number in range(2_000):
        rng = np.random.default_rng((7, number))
        for read, whole in ((decode_request, request_bytes), (decode_release, release_bytes)):
            payload = damaged(whole, rng) if number % 5 else rng.bytes(int(rng.integers(0, 300)))
            try:
                read(payload)
            except (StudyError, WeightsError):
                num_refused += 1
    assert num_refused > 3_000


def test_a_site_answers_any_bytes_with_a_code(
    tiny_federation: Any, tmp_path: Path, request_bytes: bytes
) -> None:
    """A site that gets damaged requests never raises, and sends nothing but a code and what it would have sent."""
    site = tiny_federation.site("film", tmp_path)
    for number in range(60):
        payload = damaged(request_bytes, np.random.default_rng((8, number)))
        parts = answer(site, payload)
        for name, part in parts.items():
            release = decode_release(part)
            assert name == release.kind
            if name == "error":
                assert isinstance(release.fields, ErrorRelease)
