"""Nothing leaves a hospital that it does not allow, or that is not exactly as declared."""

from typing import Any

import numpy as np
import pytest

from client.rounds.egress import Door
from shared.config.files import parse_site
from shared.config.site import SiteConfig
from shared.errors import ErrorCode, Refusal
from shared.messages.releases import (
    AnyFields,
    EnrolmentRelease,
    ErrorRelease,
    EvaluationRelease,
    LedgerStatement,
    Release,
    UpdateRelease,
    decode_release,
)

DIGEST = "0" * 64
SHAPES = {"weight": (2, 2)}
STATEMENT = LedgerStatement(
    site="north", head_seq=0, head_hash=DIGEST, epsilon=0.0, delta=1e-5, partitions=(), span="all runs"
)
ENROLMENT = EnrolmentRelease(
    site="north", study_digest=DIGEST, code_digest=DIGEST, versions={}, declared_patients=300
)


def site(**changes: Any) -> SiteConfig:
    """Return a hospital's rules."""
    return parse_site(
        {
            "name": "north", "data": {"source": "images"}, "declared_patients": 300, "weights_dir": "weights",
            "state_dir": "state", "head_file": "heads", **changes,
        }
    )  # fmt: skip


def update(weight: np.ndarray) -> Release:
    """Return an update of one array."""
    return Release("study-1", 1, UpdateRelease(base_sha256=DIGEST), {"weight": weight})


def code(door: Door, release: Release) -> ErrorCode:
    """Return the code of the door's refusal."""
    with pytest.raises(Refusal) as refused:
        door.let_out(release, SHAPES)
    return refused.value.code


def test_allowed_release_passes_unchanged() -> None:
    """What the door lets out decodes to what was given in."""
    weight = np.arange(4, dtype=np.float32).reshape(2, 2)
    got = decode_release(Door(site()).let_out(update(weight), SHAPES), SHAPES)
    assert np.array_equal(got.arrays["weight"], weight)


def test_kind_that_is_not_allowed_stays() -> None:
    """A kind missing from allow_releases is refused by its own code, whatever it holds."""
    counts = {"weight": np.zeros((2, 2), np.float32)}
    evaluation = Release("study-1", 1, EvaluationRelease(student_sha256=DIGEST, noise_std=4.0), counts)
    assert code(Door(site()), evaluation) == ErrorCode.RELEASE_NOT_ALLOWED
    assert Door(site(allow_releases=["evaluation"])).let_out(evaluation, SHAPES)
    closed = Door(site(allow_releases=[]))
    assert code(closed, Release("study-1", 1, ErrorRelease(code=ErrorCode.FAILED))) == "release_not_allowed"


@pytest.mark.parametrize(
    "weight",
    [
        np.zeros((2, 3), np.float32),
        np.zeros((2, 2), np.float64),
        np.full((2, 2), np.nan, np.float32),
        np.full((2, 2), 1e7, np.float32),
    ],
    ids=["shape", "dtype", "nan", "range"],
)
def test_malformed_arrays_stay(weight: np.ndarray) -> None:
    """Wrong shape, type or value is refused, and the code does not say which."""
    assert code(Door(site()), update(weight)) == ErrorCode.FAILED


def test_undeclared_arrays_stay() -> None:
    """Arrays beside the declared ones, or with a kind that has none, are refused."""
    more = {"weight": np.zeros((2, 2), np.float32), "gradient_norms": np.zeros(9, np.float32)}
    assert code(Door(site()), Release("study-1", 1, UpdateRelease(base_sha256=DIGEST), more)) == "failed"
    smuggled = Release("study-1", 1, ErrorRelease(code=ErrorCode.FAILED), {"weight": more["weight"]})
    assert code(Door(site()), smuggled) == ErrorCode.FAILED


@pytest.mark.parametrize(
    "fields",
    [
        ENROLMENT.model_copy(update={"declared_patients": 287}),
        ENROLMENT.model_copy(update={"site": "south"}),
        ENROLMENT.model_copy(update={"versions": {"error": "no such file: /data/patient 17"}}),
        STATEMENT.model_copy(update={"cap_epsilon": 10.0}),
    ],
    ids=["count", "name", "text", "cap"],
)
def test_wrong_fields_stay(fields: AnyFields) -> None:
    """A count instead of the declared number, another name, free text or a hidden cap is refused."""
    with pytest.raises(Refusal) as refused:
        Door(site()).let_out(Release("study-1", 0, fields))
    assert refused.value.code == ErrorCode.FAILED


def test_cap_leaves_only_where_shown() -> None:
    """The setting show_cap in site.yaml lets the cap into the statement."""
    shown = Release("study-1", 0, STATEMENT.model_copy(update={"cap_epsilon": 10.0}))
    got = decode_release(Door(site(show_cap=True)).let_out(shown))
    assert got.fields == shown.fields
