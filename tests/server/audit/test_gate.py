from typing import Any

import pytest

from server.audit.gate import judge
from server.audit.results import group
from server.metrics.audit_result import AuditResult
from server.metrics.gate_result import Check, GateResult
from server.metrics.intervals import Interval
from shared.config.files import parse_study
from shared.config.study import StudyConfig
from shared.messages.release_kinds import LedgerStatement, PartitionSpend
from shared.privacy.mechanisms import PoissonGaussian, merged

STATED = {
    "north": LedgerStatement(
        site="north", head_seq=4, head_hash="a" * 64, epsilon=2.0, delta=1e-5, span="all runs",
        partitions=(
            PartitionSpend(
                partition="train", epsilon=2.0, pld_epsilon=2.0, accountant="prv",
                mechanisms=merged([PoissonGaussian(noise_multiplier=1.0, sample_rate=0.1, steps=10)]),
            ),
        ),
    )
}  # fmt: skip


def study() -> StudyConfig:
    """Make a study with known thresholds."""
    return parse_study(
        {
            "name": "gate",
            "purpose": "test",
            "ethics_reference": "none needed",
            "expires": "2099-01-01",
            "task": {"classes": ["normal", "opacity"]},
            "audit": {"min_auc": 0.6, "min_lung_lift_ratio": 1.1, "max_mask_area": 0.9},
        }
    )


def audit_of(*, mask_area: float | None = 0.5, **changes: Any) -> AuditResult:
    """Make the audit of a student that passes, apart from what is changed."""
    everything = group("all images", [])
    area = Interval(value=mask_area, low=0.4, high=mask_area, n=20)
    figures = everything.figures | ({"mask_area": area} if mask_area is not None else {})
    fields: dict[str, Any] = {
        "finite_weights": True, "has_explainer": True,
        "num_images": 20, "num_patients": 20, "num_with_region": 20,
        "num_without_evidence": 0, "num_not_finite": 0,
        "student_layer": "stage4", "student_channels": 136,
        "teacher_layer": "layer3", "teacher_channels": 64, "teacher_channels_available": 256,
        "num_steps": 8, "method": "",
        "overall": everything.model_copy(update={"figures": figures}), "by_class": (), "by_site": (),
        "lift_ratio": Interval(value=1.5, low=1.2, high=1.8, n=18), "images": (),
    }  # fmt: skip
    return AuditResult(**(fields | changes))


AUC = Interval(value=0.8, low=0.65, high=0.9, n=100)


def named(result: GateResult, name: str) -> Check:
    """Find a check by its name."""
    return next(check for check in result.checks if check.name == name)


def test_a_good_student_is_accepted() -> None:
    """All five checks pass and the verdict says so in one sentence with values and intervals at hand."""
    result = judge(audit_of(), AUC, study(), STATED)
    assert result.verdict == "accepted"
    assert result.sentence == "Accepted: 5 of 5 checks that apply passed."
    assert "1.50 (95 % interval 1.20 to 1.80)" in named(result, "energy in the region").sentence
    assert "images: 18 of 20" in named(result, "energy in the region").sentence
    assert GateResult.model_validate_json(result.model_dump_json()) == result


@pytest.mark.parametrize(
    ("changes", "auc", "finite_metrics", "reason"),
    [
        ({"finite_weights": False}, AUC, True, "finite numbers"),
        ({"num_not_finite": 1}, AUC, True, "finite numbers"),
        ({}, AUC, False, "finite numbers"),
        ({}, Interval(value=0.59, low=0.5, high=0.7, n=100), True, "test AUC"),
        ({}, Interval(value=0.9, low=0.59, high=1.0, n=12), True, "test AUC"),
        ({}, Interval(value=0.9, n=3), True, "test AUC"),
        ({}, Interval(value=None, reason="no test image of class opacity"), True, "test AUC"),
        ({"lift_ratio": Interval(value=1.09, low=1.0, high=1.3, n=20)}, AUC, True, "energy in the region"),
        ({"lift_ratio": Interval(value=1.4, low=1.0, high=1.8, n=20)}, AUC, True, "energy in the region"),
        ({"lift_ratio": Interval(value=9.0, low=8.0, high=10.0, n=9)}, AUC, True, "energy in the region"),
        ({"lift_ratio": Interval(value=None), "num_with_region": 0}, AUC, True, "energy in the region"),
        ({"lift_ratio": Interval(value=None)}, AUC, True, "energy in the region"),
        ({"mask_area": 0.91}, AUC, True, "mask area"),
        ({"mask_area": None}, AUC, True, "mask area"),
    ],
)
def test_each_failure_alone_holds_the_student(
    changes: dict[str, Any], auc: Interval, finite_metrics: bool, reason: str
) -> None:
    """A check that fails, by its interval too, or was not measured holds the student and is the only name given."""
    result = judge(audit_of(**changes), auc, study(), STATED, finite_metrics=finite_metrics)
    assert result.verdict == "held"
    assert result.sentence == f"Held because of: {reason}."
    failed = named(result, reason)
    assert failed.passed is False
    assert failed.sentence.endswith(".")


def test_values_on_the_threshold_pass() -> None:
    """At least and at most include the threshold itself."""
    audit = audit_of(mask_area=0.9, lift_ratio=Interval(value=1.2, low=1.1, high=1.3, n=10))
    assert judge(audit, Interval(value=0.7, low=0.6, high=0.8, n=50), study(), STATED).verdict == "accepted"


def test_a_method_without_explainer_is_not_held_for_its_mask() -> None:
    """Without an explainer the mask check does not apply and the other three decide."""
    result = judge(audit_of(has_explainer=False, mask_area=None), AUC, study(), STATED)
    mask = named(result, "mask area")
    assert (mask.passed, mask.value) == (None, None)
    assert "No explainer" in mask.sentence
    assert result.sentence == "Accepted: 4 of 4 checks that apply passed."


def test_what_was_not_measured_says_why() -> None:
    """The reason for a missing figure reaches the reader."""
    unmeasured = audit_of(lift_ratio=Interval(value=None), num_with_region=0)
    result = judge(unmeasured, Interval(value=None, reason="no test image of class opacity"), study(), STATED)
    assert named(result, "test AUC").sentence == "Could not be measured: no test image of class opacity."
    assert "no reference image has a region mask" in named(result, "energy in the region").sentence
    assert result.sentence == "Held because of: test AUC, energy in the region."


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ({}, "any site"),
        (STATED | {"south": None}, "south (no ledger statement)"),
        (
            {"north": STATED["north"].model_copy(update={"partitions": ()})},
            "north (accountant, partition, sample rate, noise multiplier)",
        ),
        ({"north": STATED["north"].model_copy(update={"epsilon": None})}, "north (epsilon spent)"),
    ],
)
def test_a_privacy_label_with_a_gap_holds_the_student(statements: Any, named: str) -> None:
    """A site that stated nothing, or left a field open, is named, and the student is held."""
    result = judge(audit_of(), AUC, study(), statements)
    assert result.verdict == "held"
    assert named in result.checks[-1].sentence


def test_without_privacy_there_is_no_label_to_judge() -> None:
    """A study that claims nothing is not held for want of a label."""
    open_study = study().model_copy(update={"privacy": study().privacy.model_copy(update={"enabled": False})})
    result = judge(audit_of(), AUC, open_study, {"north": None})
    assert (result.verdict, result.checks[-1].passed) == ("accepted", None)
