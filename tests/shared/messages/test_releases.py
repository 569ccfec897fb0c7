"""A release's bytes are canonical, complete and refused when anything is not as declared."""

import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
from safetensors.numpy import save

from shared.errors import ErrorCode, RoundsError, StudyError, WeightsError
from shared.messages.releases import (
    AnyFields,
    EnrolmentRelease,
    ErrorRelease,
    EvaluationRelease,
    LedgerStatement,
    MapsRelease,
    PartitionSpend,
    RegionsRelease,
    Release,
    StatusRelease,
    UpdateRelease,
    check_release,
    decode_release,
    encode_release,
)
from shared.privacy.mechanisms import Gaussian, MechanismCount

DIGEST = "0123456789abcdef" * 4
VERSIONS = {"torch": "2.15.0", "python": "3.11.7"}
SHAPES = {"head.weight": (2, 3), "head.bias": (2,)}
COUNT = MechanismCount(mechanism=Gaussian(noise_multiplier=4.0), rows=2)
SPEND = PartitionSpend(
    partition="train", epsilon=1.5, pld_epsilon=1.49, accountant="prv + basic", mechanisms=(COUNT,)
)
STATEMENT = LedgerStatement(
    site="north", head_seq=2, head_hash=DIGEST, epsilon=None, delta=1e-5, partitions=(SPEND,), span="all runs"
)
WITH_ARRAYS: list[AnyFields] = [
    UpdateRelease(base_sha256=DIGEST),
    EvaluationRelease(student_sha256=DIGEST, noise_std=4.0),
    RegionsRelease(student_sha256=DIGEST, noise_std=4.0),
    MapsRelease(student_sha256=DIGEST, noise_std=4.0),
]
WITHOUT_ARRAYS: list[AnyFields] = [
    EnrolmentRelease(
        site="north", study_digest=DIGEST, code_digest=DIGEST, versions=VERSIONS, declared_patients=300
    ),
    StatusRelease(code_digest=DIGEST, versions=VERSIONS),
    STATEMENT,
    ErrorRelease(code=ErrorCode.FAILED),
]


def arrays() -> dict[str, np.ndarray]:
    """Return arrays of the declared names and shapes."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def update() -> Release:
    """Return one well-formed update."""
    return Release("study-1", 3, UpdateRelease(base_sha256=DIGEST), arrays())


@pytest.mark.parametrize("fields", [*WITH_ARRAYS, *WITHOUT_ARRAYS], ids=lambda fields: fields.kind)
def test_every_kind_survives_the_way(fields: AnyFields) -> None:
    """Decoding gives back exactly what was encoded, and equal releases have equal bytes."""
    sent = Release("study-1", 3, fields, arrays() if fields in WITH_ARRAYS else {})
    data = encode_release(sent)
    got = decode_release(data, SHAPES, kinds=(fields.kind,), study_uid="study-1", round=3)
    assert (got.study_uid, got.round, got.fields, got.kind) == ("study-1", 3, fields, fields.kind)
    assert got.arrays.keys() == sent.arrays.keys()
    assert all(np.array_equal(got.arrays[name], sent.arrays[name]) for name in sent.arrays)
    assert encode_release(got) == data


def test_an_update_may_travel_in_half_the_bytes() -> None:
    """As float16 every value is rounded to nearest, the bytes are canonical, and the type they have is declared."""
    values = np.random.default_rng(1).normal(size=(100, 100)).astype(np.float32) * np.float32(0.02)
    values[0, :4] = [1e5, -1e5, 1e-9, 0]
    exact = Release("study-1", 3, UpdateRelease(base_sha256=DIGEST), {"w": values})
    short = Release("study-1", 3, UpdateRelease(base_sha256=DIGEST, values="float16"), {"w": values})
    data = encode_release(short)
    assert 0.5 < len(data) / len(encode_release(exact)) < 0.51
    got = decode_release(data, {"w": (100, 100)})
    assert got.arrays["w"].dtype == np.float32
    assert got.arrays["w"][0, :4].tolist() == [65504, -65504, 0, 0]
    error = np.abs(got.arrays["w"] - values)[1:]
    assert np.all(error <= np.maximum(np.abs(values[1:]) * 2.0**-11, 2.0**-25))
    assert error.max() > 0
    assert encode_release(got) == data


def test_the_declared_type_is_the_type() -> None:
    """float32 bytes under fields that say float16, and the other way round, are refused."""
    for said, sent in (("float16", np.float32), ("float32", np.float16)):
        fields = UpdateRelease(base_sha256=DIGEST, values=said).model_dump(mode="json")
        header = {"study_uid": "study-1", "round": 3, "fields": fields}
        text = json.dumps(header, sort_keys=True, separators=(",", ":"))
        data = save({"w": np.ones(3, sent)}, metadata={"release": text})
        with pytest.raises(WeightsError, match=f"allowed is {said}"):
            decode_release(data, {"w": (3,)})


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("head.bias"),
        lambda a: a.update(extra=np.zeros(1, np.float32)),
        lambda a: a.update({"head.bias": np.zeros(3, np.float32)}),
        lambda a: a.update({"head.bias": np.zeros((2, 1), np.float32)}),
        lambda a: a.update({"head.bias": np.zeros(2, np.float64)}),
        lambda a: a.update({"head.bias": np.zeros(2, np.int32)}),
        lambda a: a.update({"head.bias": np.array([0, np.nan], np.float32)}),
        lambda a: a.update({"head.bias": np.array([0, -np.inf], np.float32)}),
        lambda a: a.update({"head.bias": np.array([0, 2e6], np.float32)}),
    ],
    ids=["missing", "extra", "length", "rank", "float64", "int32", "nan", "infinite", "too large"],
)
def test_wrong_arrays_are_refused_at_both_ends(change: Callable[[dict[str, np.ndarray]], object]) -> None:
    """Another name, shape, type, a non-finite or an absurd value passes neither sender nor receiver."""
    release = update()
    changed = dict(release.arrays)
    change(changed)
    release = Release(release.study_uid, release.round, release.fields, changed)
    with pytest.raises(WeightsError):
        check_release(release, SHAPES)
    with pytest.raises(WeightsError):
        decode_release(encode_release(release), SHAPES)


def test_kind_without_arrays_takes_none() -> None:
    """A status or error cannot carry arrays, even those that an update of the round would have."""
    smuggled = Release("study-1", 3, ErrorRelease(code=ErrorCode.FAILED), arrays())
    with pytest.raises(WeightsError):
        decode_release(encode_release(smuggled), SHAPES)
    with pytest.raises(WeightsError):
        check_release(smuggled, SHAPES)


@pytest.mark.parametrize(
    "wanted", [{"kinds": ("status",)}, {"study_uid": "study-2"}, {"round": 4}], ids=["kind", "study", "round"]
)
def test_answer_to_another_question_is_left_out(wanted: dict[str, object]) -> None:
    """Another kind, study or round than asked for is a `StudyError`."""
    with pytest.raises(StudyError, match="another kind, study or round"):
        decode_release(encode_release(update()), SHAPES, **wanted)  # type: ignore[arg-type]


def test_oversized_bytes_are_refused() -> None:
    """The size limit is checked before anything is parsed."""
    with pytest.raises(WeightsError, match="bytes, allowed"):
        decode_release(bytes(101), max_bytes=100)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("site", "/home/north/data"), ("site", "n" * 41), ("code_digest", "patient 17"), ("versions", {"torch": "a b"}),
        ("versions", {f"p{i}": "1" for i in range(21)}), ("declared_patients", 0), ("comment", "hello"),
    ],
)  # fmt: skip
def test_free_text_has_no_way_in(field: str, value: object) -> None:
    """Fields take only what their pattern and range allow, and no undeclared field exists."""
    good = WITHOUT_ARRAYS[0].model_dump()
    changed = EnrolmentRelease.model_construct(**{**good, field: value})
    header = {"study_uid": "study-1", "round": 0, "fields": {**good, field: value}}
    data = save({}, metadata={"release": json.dumps(header, sort_keys=True, separators=(",", ":"))})
    with pytest.raises(StudyError):
        decode_release(data)
    if field != "comment":  # an undeclared attribute is not a field, so it is never written
        with pytest.raises(StudyError):
            check_release(Release("study-1", 0, changed), None)


@pytest.mark.parametrize(("study_uid", "number"), [("a b", 0), ("", 0), ("study-1", -1), ("study-1", True)])
def test_envelope_is_checked(study_uid: str, number: int) -> None:
    """Study and round have their ranges, too."""
    with pytest.raises(StudyError):
        check_release(Release(study_uid, number, ErrorRelease(code=ErrorCode.FAILED)), None)


def test_nothing_travels_beside_a_release() -> None:
    """Bytes that decode to the same release in another form are refused."""
    data = encode_release(update())
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    text = header["__metadata__"]["release"]
    others = [
        save(arrays(), metadata={"release": text, "note": "patient 17"}),
        save(arrays(), metadata={"release": text.replace(",", ", ")}),
        save(arrays(), metadata={"release": text[:-1] + ',"note":"patient 17"}'}),
        struct.pack("<Q", size + 8) + data[8 : 8 + size] + b" " * 8 + data[8 + size :],
    ]
    assert save(arrays(), metadata={"release": text}) == data
    for other in others:
        with pytest.raises(WeightsError):
            decode_release(other, SHAPES)


@pytest.mark.parametrize("seed", range(4))
def test_random_damage_is_refused_or_harmless(seed: int) -> None:
    """Damaged bytes raise one of our errors, or decode to a release that encodes to those very bytes."""
    rng = np.random.default_rng(seed)
    originals = [encode_release(update()), encode_release(Release("study-1", 3, STATEMENT))]
    passed = 0
    for _ in range(1500):
        data = bytearray(originals[rng.integers(2)])
        for _ in range(rng.integers(1, 4)):
            place = int(rng.integers(len(data) + 1))
            match rng.integers(4):
                case 0 if place < len(data):
                    data[place] ^= 1 << int(rng.integers(8))
                case 1:
                    del data[place:]
                case 2:
                    data[place:place] = rng.bytes(int(rng.integers(1, 9)))
                case _:
                    del data[place : place + int(rng.integers(1, 9))]
            if not data:
                break
        try:
            release = decode_release(bytes(data), SHAPES)
        except RoundsError:
            continue
        assert encode_release(release) == bytes(data)
        passed += 1
    assert passed < 500


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F8_E4M3", "F64", "I8", "BOOL", "U128", "C64", 7, None])
def test_foreign_types_are_refused(dtype: object) -> None:
    """A header that names any other element type never gets past the decoder."""
    data = encode_release(update())
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    header["head.bias"]["dtype"] = dtype
    text = json.dumps(header).encode()
    with pytest.raises(WeightsError):
        decode_release(struct.pack("<Q", len(text)) + text + data[8 + size :], SHAPES)
