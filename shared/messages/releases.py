"""What crosses from a hospital to the hub: a release, checked, and its canonical bytes.

In: a `Release`. Out: safetensors bytes with the fields as JSON in the header, or the other way round. Arrays may
travel as float16, where the fields say so. Site and hub use the same code; whatever
`shared/messages/release_kinds.py` does not declare has no way out and no way in.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load

from shared.config.kinds import ReleaseKind
from shared.config.values import ArrayType
from shared.errors import StudyError, WeightsError
from shared.messages.release_kinds import (
    AnyFields,
    EnrolmentRelease,
    ErrorRelease,
    EvaluationRelease,
    LedgerStatement,
    MapsRelease,
    PartitionSpend,
    RegionsRelease,
    StatusRelease,
    StudyUid,
    UpdateRelease,
)
from shared.messages.tensor_bytes import tensor_bytes

__all__ = [
    "AnyFields",
    "EnrolmentRelease",
    "ErrorRelease",
    "EvaluationRelease",
    "LedgerStatement",
    "MapsRelease",
    "PartitionSpend",
    "RegionsRelease",
    "Release",
    "StatusRelease",
    "UpdateRelease",
    "check_arrays",
    "check_release",
    "decode_release",
    "encode_release",
]

MAX_BYTES = 256 * 2**20
_MAX_FLOAT16 = np.float32(np.finfo(np.float16).max)
Arrays = Mapping[str, npt.NDArray[np.float32]]
Shapes = Mapping[str, tuple[int, ...]]
_FIELDS: TypeAdapter[AnyFields] = TypeAdapter(Annotated[AnyFields, Field(discriminator="kind")])
_STUDY_UID: TypeAdapter[str] = TypeAdapter(StudyUid)


@dataclass(frozen=True)
class Release:
    """One answer of one site: which study and round, the fields of its kind, and float32 arrays by name."""

    study_uid: str
    round: int
    fields: AnyFields
    arrays: Arrays = field(default_factory=lambda: MappingProxyType({}))

    @property
    def kind(self) -> ReleaseKind:
        """The declared kind."""
        return self.fields.kind


def check_release(release: Release, expected_arrays: Shapes | None) -> None:
    """Refuse a release that is not exactly as declared.

    `expected_arrays` names every array with its shape; None stands for no arrays, and a kind that has none
    never takes any. Raises `StudyError` for the fields, `WeightsError` for the arrays.
    """
    try:
        _STUDY_UID.validate_python(release.study_uid, strict=True)
        _FIELDS.validate_python(release.fields.model_dump(warnings="none"), strict=False)
    except ValidationError as error:
        raise StudyError(_mistake(release.fields.kind, error)) from None
    if not (type(release.round) is int and 0 <= release.round <= 10**9):
        raise StudyError("release: round is not a whole number from 0 to 1e9; send the round of the request")
    limit = release.fields.array_limit
    check_arrays(release.arrays, (expected_arrays or {}) if limit else {}, limit)


def check_arrays(arrays: Arrays, expected: Shapes, limit: float) -> None:
    """Refuse arrays with other names, shapes or types, or a value that is not finite or beyond `limit`."""
    if set(arrays) != set(expected):
        missing, extra = len(set(expected) - set(arrays)), len(set(arrays) - set(expected))
        raise WeightsError(
            f"arrays: {missing} missing and {extra} not asked for; send exactly the declared ones"
        )
    for name, array in arrays.items():
        if array.dtype != np.float32 or array.shape != tuple(expected[name]):
            raise WeightsError(
                f"array {name}: is {array.dtype} {array.shape}, allowed is float32 {tuple(expected[name])}; "
                "use the study's model"
            )
        largest = float(np.abs(array).max(initial=0.0))  # NaN and infinity survive the maximum
        if not largest <= limit:
            raise WeightsError(
                f"array {name}: a value is not finite or beyond {limit:g}; check its noise and clip"
            )


def encode_release(release: Release) -> bytes:
    """Return the canonical bytes: equal releases have equal bytes."""
    fields = release.fields.model_dump(mode="json")
    header = {"study_uid": release.study_uid, "round": release.round, "fields": fields}
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), allow_nan=False)
    arrays = {name: _packed(array, release.fields.array_type) for name, array in release.arrays.items()}
    return tensor_bytes(arrays, {"release": text})


def decode_release(
    data: bytes,
    expected_arrays: Shapes | None = None,
    *,
    kinds: tuple[ReleaseKind, ...] = get_args(ReleaseKind),
    study_uid: str | None = None,
    round: int | None = None,  # noqa: A002 - the one word for it everywhere
    max_bytes: int = MAX_BYTES,
) -> Release:
    """Read a release from bytes that nobody has checked, and check it against what was asked for.

    A known error release passes whenever "error" is among `kinds`. Only the canonical bytes of a release are
    accepted, so that nothing travels beside it. Raises `WeightsError` for bytes and arrays, `StudyError` for
    fields, kind, study or round.
    """
    if len(data) > max_bytes:
        raise WeightsError(
            f"release: {len(data)} bytes, allowed are {max_bytes}; send the declared arrays only"
        )
    try:
        (size,) = struct.unpack_from("<Q", data)
        if size > len(data) - 8:
            raise ValueError("header beyond the end")
        text = json.loads(data[8 : 8 + size])["__metadata__"]["release"]
        header: Any = json.loads(text)
        arrays = load(data)
        parts = (header["study_uid"], header["round"], header["fields"])
    except (SafetensorError, struct.error, KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(
            "release: not a safetensors message of this system; both ends need one version"
        ) from error
    try:
        fields = _FIELDS.validate_python(parts[2])
    except ValidationError as error:
        raise StudyError(_mistake("release", error)) from None
    arrays = {name: _unpacked(name, array, fields.array_type) for name, array in arrays.items()}
    release = Release(study_uid=parts[0], round=parts[1], fields=fields, arrays=MappingProxyType(arrays))
    check_release(release, expected_arrays)
    if fields.kind not in kinds or study_uid not in {None, parts[0]} or round not in {None, parts[1]}:
        raise StudyError("release: another kind, study or round than was asked for; it is left out")
    if encode_release(release) != data:
        raise WeightsError("release: not in canonical form; both ends need one version")
    return release


def _packed(array: npt.NDArray[np.float32], type_: ArrayType) -> npt.NDArray[np.floating[Any]]:
    """Return the array as it travels; what float16 cannot hold becomes its largest value, not infinity.

    Rounding is to nearest, an error of at most 2^-11 of the value or 2^-25, whichever is larger.
    """
    if type_ == "float32":
        return np.ascontiguousarray(array)
    return np.ascontiguousarray(np.clip(array, -_MAX_FLOAT16, _MAX_FLOAT16).astype(np.float16))


def _unpacked(name: str, array: npt.NDArray[np.floating[Any]], type_: ArrayType) -> npt.NDArray[np.float32]:
    """Return the array as float32; `WeightsError` where it travelled as another type than the fields say."""
    if array.dtype != np.dtype(type_):
        raise WeightsError(
            f"array {name}: is {array.dtype} {array.shape}, allowed is {type_}; use the study's model"
        )
    return array.astype(np.float32, copy=False)


def _mistake(where: str, error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    return f"{where}: {path}: {first['msg']}; send exactly the declared fields"
