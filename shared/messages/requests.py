"""What the hub asks of a site: a `Request`, encoded as safetensors bytes with a JSON header.

Requests hold public things only (the study, the global student's weights). Answers are `Release`s.
"""

import json
from dataclasses import dataclass

import numpy as np
from pydantic import Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load

from shared.config.kinds import RequestKind
from shared.config.values import Digest, Frozen
from shared.errors import StudyError
from shared.messages.tensor_bytes import tensor_bytes
from shared.models.arrays import Arrays, arrays_digest

MAX_REQUEST_BYTES = 1 << 28
_HEADER = "request"
_WEIGHTS_BEGIN_AT = 4096  # times a whole number


class LedgerHead(Frozen):
    """A row that a site's ledger once stated as its last: its number and the hash that covers all before it."""

    seq: int = Field(ge=0)
    hash: Digest


class RequestHeader(Frozen):
    """One stage of one round of one study; `base_digest` names the weights that come with it.

    `known_head` is the last head that the site stated in this study: it can make a site refuse, never answer.
    """

    study_uid: str = Field(pattern=r"^[0-9a-f]{32}$")
    round: int = Field(ge=0)
    kind: RequestKind
    study_json: str = Field(max_length=1 << 20)
    base_digest: Digest
    code_digest: Digest
    known_head: LedgerHead | None = None


@dataclass(frozen=True)
class Request:
    """A header and the global student's trainable weights (none for enrolment)."""

    header: RequestHeader
    weights: Arrays


def encode_request(request: Request) -> bytes:
    """Return the request as bytes; the header travels in the file's metadata.

    The header is padded, so that the same weights begin at the same byte for every site, whatever is said to that site
    alone: Flower keeps equal pieces of 5 MiB once.
    """
    metadata = {_HEADER: request.header.model_dump_json()}
    return tensor_bytes(request.weights, metadata, multiple=_WEIGHTS_BEGIN_AT)


def decode_request(payload: bytes) -> Request:
    """Read a request; anything malformed is one `StudyError` without a word of its content."""
    if len(payload) > MAX_REQUEST_BYTES:
        raise StudyError(f"request: is {len(payload)} bytes, allowed are at most {MAX_REQUEST_BYTES}")
    try:
        header = RequestHeader.model_validate_json(_metadata(payload)[_HEADER])
        weights = load(payload)
    except (SafetensorError, ValidationError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StudyError("request: is malformed; hub and site must run the same version") from error
    if any(array.dtype != np.float32 for array in weights.values()):
        raise StudyError(
            "request: holds weights that are not float32; hub and site must run the same version"
        )
    if arrays_digest(weights) != header.base_digest:
        raise StudyError("request: base_digest does not match the weights sent; the message was altered")
    return Request(header, weights)


def _metadata(payload: bytes) -> dict[str, str]:
    length = int.from_bytes(payload[:8], "little")
    if not 2 <= length <= min(len(payload) - 8, 1 << 24):
        raise ValueError("header length")
    header = json.loads(payload[8 : 8 + length])
    metadata = header["__metadata__"]
    if not isinstance(metadata, dict):
        raise TypeError("metadata")
    return metadata
