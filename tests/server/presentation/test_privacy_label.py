from collections.abc import Callable
from typing import Any

import pytest

from server.audit.gate import judge
from server.presentation.formatting import NOT_STATED
from server.presentation.privacy_label import REQUIRED, label_fields, missing_fields
from tests.audit_plan import SMALL, statement
from tests.server.audit.test_gate import AUC, audit_of, study

CLIP = "1"


def stated() -> dict[str, Any]:
    return statement(SMALL, "bedside", 3).model_dump(mode="json")


def of_partitions(one: dict[str, Any], change: Callable[[dict[str, Any]], object]) -> None:
    for part in one["partitions"]:
        change(part)


def of_mechanisms(one: dict[str, Any], name: str) -> None:
    of_partitions(one, lambda part: [row["mechanism"].pop(name) for row in part["mechanisms"]])


# what to take away from a statement so that one field of its label is open
TAKEN: dict[str, Callable[[dict[str, Any]], object]] = {
    "epsilon spent": lambda one: one.update(epsilon=None),
    "delta": lambda one: one.update(delta=None),
    "accountant": lambda one: of_partitions(one, lambda part: part.pop("accountant")),
    "unit of privacy": lambda one: one.pop("unit"),
    "partition": lambda one: of_partitions(one, lambda part: part.pop("partition")),
    "adjacency": lambda one: one.pop("adjacency"),
    "sampling": lambda one: one.pop("sampling"),
    "sample rate": lambda one: of_mechanisms(one, "sample_rate"),
    "noise multiplier": lambda one: of_mechanisms(one, "noise_multiplier"),
    "ledger head": lambda one: one.pop("head_hash"),
    "time span": lambda one: one.pop("span"),
    "against whom": lambda one: one.pop("trust_model"),
}


def test_a_complete_statement_leaves_nothing_open() -> None:
    """Every required field of the label is stated, and the gate's own check of it passes."""
    assert missing_fields(stated(), CLIP) == ()
    result = judge(audit_of(), AUC, study(), {"bedside": stated()})
    assert result.verdict == "accepted"


def test_without_a_clip_the_label_is_not_complete() -> None:
    """The clip is the study's; a study that states none leaves a gap."""
    assert missing_fields(stated(), NOT_STATED) == ("clip (max_grad_norm)",)


def test_each_required_field_is_tried() -> None:
    """A field that is added to the label is added here."""
    assert {*TAKEN, "clip (max_grad_norm)"} == set(REQUIRED)


@pytest.mark.parametrize("field", TAKEN)
def test_one_missing_field_prints_not_stated_and_holds_the_student(field: str) -> None:
    """The field and no other is told, on the label and by the gate."""
    one = stated()
    TAKEN[field](one)
    assert missing_fields(one, CLIP) == (field,)
    assert NOT_STATED in label_fields(one, CLIP, NOT_STATED)[field]
    result = judge(audit_of(), AUC, study(), {"bedside": one})
    assert result.verdict == "held"
    assert f"bedside ({field})" in result.checks[-1].sentence
