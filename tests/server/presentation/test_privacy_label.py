"""The privacy label leaves nothing out: by the form of a statement, or the gate holds the student."""

import pytest
from pydantic import ValidationError

from server.audit.gate import judge
from server.presentation.formatting import NOT_STATED
from server.presentation.privacy_label import REQUIRED, label_fields, missing_fields
from shared.messages.release_kinds import LedgerStatement
from shared.privacy.mechanisms import Gaussian, MechanismCount, Unprotected
from tests.audit_plan import SMALL, statement
from tests.server.audit.test_gate import AUC, audit_of, study

CLIP = "1"
STATED = statement(SMALL, "bedside", 3)


def with_mechanism(mechanism: Gaussian | Unprotected) -> LedgerStatement:
    """Return the statement with one mechanism in place of its own."""
    counted = (MechanismCount(mechanism=mechanism, rows=1),)
    parts = tuple(part.model_copy(update={"mechanisms": counted}) for part in STATED.partitions)
    return STATED.model_copy(update={"partitions": parts})


# what a statement may leave open, and which fields of its label say so
OPEN = [
    (STATED.model_copy(update={"epsilon": None}), ("epsilon spent",)),
    (
        STATED.model_copy(update={"partitions": ()}),
        ("accountant", "partition", "sample rate", "noise multiplier"),
    ),
    (with_mechanism(Gaussian(noise_multiplier=1.0)), ("sample rate",)),
    (with_mechanism(Unprotected()), ("sample rate", "noise multiplier")),
]
NEVER_OPEN = {
    "delta": "delta", "ledger head": "head_hash", "time span": "span", "unit of privacy": "unit",
    "adjacency": "adjacency", "sampling": "sampling", "against whom": "trust_model",
}  # fmt: skip


def test_a_complete_statement_leaves_nothing_open() -> None:
    """Every required field of the label is stated, and the gate's own check of it passes."""
    assert missing_fields(STATED, CLIP) == ()
    assert judge(audit_of(), AUC, study(), {"bedside": STATED}).verdict == "accepted"


def test_without_a_clip_the_label_is_not_complete() -> None:
    """The clip is the study's; a study that states none leaves a gap."""
    assert missing_fields(STATED, NOT_STATED) == ("clip (max_grad_norm)",)


def test_each_required_field_is_tried() -> None:
    """A field that is added to the label is added here."""
    told = {name for _, names in OPEN for name in names}
    assert told | set(NEVER_OPEN) | {"clip (max_grad_norm)"} == set(REQUIRED)


@pytest.mark.parametrize(("one", "fields"), OPEN)
def test_a_field_left_open_prints_not_stated_and_holds_the_student(
    one: LedgerStatement, fields: tuple[str, ...]
) -> None:
    """The fields and no others are told, on the label and by the gate."""
    assert missing_fields(one, CLIP) == fields
    assert all(NOT_STATED in label_fields(one, CLIP, NOT_STATED)[field] for field in fields)
    result = judge(audit_of(), AUC, study(), {"bedside": one})
    assert result.verdict == "held"
    assert f"bedside ({', '.join(fields)})" in result.checks[-1].sentence


@pytest.mark.parametrize("field", NEVER_OPEN.values())
def test_a_statement_cannot_leave_the_other_fields_open(field: str) -> None:
    """Neither nothing nor other words than the declared ones are a statement."""
    for said in (None, ""):
        with pytest.raises(ValidationError, match=field):
            LedgerStatement.model_validate(STATED.model_dump() | {field: said})
