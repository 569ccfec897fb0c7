"""Figures, gate and documents for the records of `audit_records`: numbers with intervals that fit each other."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from server.metrics.audit_result import FIGURES
from server.metrics.gate_result import Check
from server.metrics.intervals import Interval
from server.store.record_kinds import Figure, GateBody
from tests.audit_plan import Plan

MODELS: Final = {"teacher": 0.978, "warm_start": 0.931, "federated_private": 0.960, "trivial": 0.546}
_PAIRS: Final = (
    ("federated_private", "warm_start"),
    ("federated_private", "trivial"),
    ("teacher", "federated_private"),
)
_TEST_IMAGES: Final = 1411
_SPREAD: Final = {"auc": 0.24, "accuracy": 0.3, "macro_f1": 0.3, "recall": 0.35, "ece": 0.2, "brier": 0.2}
_AUDITED: Final = {
    "lift_student": 1.56, "lift_teacher": 1.92, "lift_explainer": 1.31, "lift_random": 1.02, "lift_centre": 1.71,
    "lesion_student": 2.4, "lesion_teacher": 3.3, "lesion_random": 1.05, "border_student": 0.62,
    "corners_student": 0.41, "border_teacher": 0.44, "corners_teacher": 0.30, "insertion_student": 0.68,
    "insertion_teacher": 0.67, "insertion_random": 0.70, "deletion_student": 0.59, "deletion_teacher": 0.28,
    "deletion_random": 0.62, "agreement_teacher": 0.44, "agreement_explainer": 0.21, "mask_area": 0.47,
    "probability_true": 0.83,
}  # fmt: skip
assert set(_AUDITED) == set(FIGURES)
NOT_MEASURED: Final = Interval(value=None, reason="not measured on any image")


def around(value: float, spread: float, n: int, *, most: float = 1.0) -> Interval:
    """Return a value with a 95 % interval that shrinks with the root of n."""
    half = 1.96 * spread / n**0.5
    return Interval(
        value=round(value, 4),
        low=round(max(value - half, 0.0), 4),
        high=round(min(value + half, most), 4),
        n=n,
    )


def auc_after(plan: Plan, number: int) -> Interval:
    """Return the AUC of the student after a round: from the warm start's to the final one's, quickly at first."""
    share = 1 - (1 - number / plan.config.federation.rounds) ** 2
    start, end = MODELS["warm_start"], MODELS["federated_private"]
    return around(start + share * (end - start), _SPREAD["auc"], _TEST_IMAGES)


def evaluation(plan: Plan) -> Iterator[Figure]:
    """Yield the figures of the test set: by model, by class, by site of origin, and paired differences."""
    random = np.random.default_rng(11)
    quality = {"auc": 0.0, "accuracy": -0.06, "macro_f1": -0.07}
    for model, auc in MODELS.items():
        for name, less in quality.items():
            yield Figure(name=name, subject=model, interval=around(auc + less, _SPREAD[name], _TEST_IMAGES))
        for name, value in (("ece", 0.04), ("brier", 0.14)):
            yield Figure(name=name, subject=model, interval=around(value, _SPREAD[name], _TEST_IMAGES))
        for label in plan.config.task.classes:
            share = auc - 0.06 + random.normal(0, 0.02)
            n = _TEST_IMAGES // len(plan.config.task.classes)
            yield Figure(
                name="recall", subject=model, label=label, interval=around(share, _SPREAD["recall"], n)
            )
        for source in plan.sites:
            n = int(random.integers(30, 400))
            shifted = around(min(auc + random.normal(0, 0.015), 0.999), _SPREAD["auc"], n)
            yield Figure(name="auc", subject=model, source=source, interval=shifted)
    for a, b in _PAIRS:
        difference, half = MODELS[a] - MODELS[b], 0.006
        interval = Interval(
            value=round(difference, 4), low=round(difference - half, 4), high=round(difference + half, 4),
            n=_TEST_IMAGES,
        )  # fmt: skip
        yield Figure(name="auc", subject=f"{a}-{b}", interval=interval)


def audited(plan: Plan) -> Iterator[Figure]:
    """Yield every figure of the audit by class and site of origin; of one image there is no interval."""
    random = np.random.default_rng(12)
    for (label, source), n in plan.cells.items():
        for name, usual in _AUDITED.items():
            subject = name.rsplit("_", 1)[-1] if name.startswith(("lift", "lesion", "border")) else "student"
            if name.startswith("lesion") and label in ("normal", "no finding"):
                interval = NOT_MEASURED
            elif n == 1:
                interval = Interval(
                    value=usual, n=1, reason="too few resamples held every class for an interval"
                )
            else:
                value = max(usual * (1 + random.normal(0, 0.05)), 0.01)
                interval = around(value, 0.3 * usual, n, most=1e3)
            yield Figure(name=name, subject=subject, label=label, source=source, interval=interval)


def image_figures(random: np.random.Generator, label: str) -> dict[str, float | None]:
    """Return the figures of one reference image."""
    return {
        name: None
        if name.startswith("lesion") and label in ("normal", "no finding")
        else round(max(usual * (1 + random.normal(0, 0.2)), 0.01), 4)
        for name, usual in _AUDITED.items()
    }


def gate(plan: Plan, verdict: str) -> GateBody:
    """Return the gate's verdict; a held student has too little energy in the region."""
    auc, ratio = auc_after(plan, plan.config.federation.rounds), 1.56 if verdict == "accepted" else 1.26
    low = 1.29 if verdict == "accepted" else 0.98
    checks = (
        Check(name="finite numbers", value=None, threshold=None, passed=True,
              sentence="All weights and outputs are finite."),
        Check(name="test AUC", value=auc.value, threshold=0.75, side="least", passed=True,
              sentence=f"The AUC on the public test set is {auc.value:.2f} (95 % interval {auc.low:.2f} to "
              f"{auc.high:.2f}); the whole interval must be at least 0.75."),
        Check(name="energy in the region", value=ratio, threshold=1.0, side="least", passed=low >= 1,
              sentence=f"The student's maps put {ratio:.2f} (95 % interval {low:.2f} to {ratio + 0.28:.2f}) times as "
              f"much energy into the region as random maps do (images: {plan.num_images} of {plan.num_images}); the "
              "whole interval must be at least 1."),
        Check(name="mask area", value=0.47, threshold=0.95, side="most", passed=True,
              sentence="The explainer keeps 0.47 (95 % interval 0.44 to 0.50) of an image; the whole interval must be "
              "at most 0.95, because a mask that keeps everything explains nothing."),
    )  # fmt: skip
    sentence = "Accepted: 4 of 4 checks that apply passed."
    if verdict != "accepted":
        sentence = "Held because of: energy in the region."
    return GateBody.model_validate(
        {"verdict": verdict, "sentence": sentence, "checks": [one.model_dump() for one in checks]}
    )


def model_card(plan: Plan, sentence: str) -> dict[str, Any]:
    """Return a model card with the sections that the report writes."""
    config = plan.config
    return {
        "Model details": {"name": plan.name, "verdict": sentence, "developed by": "not stated"},
        "Intended use": {"purpose": config.purpose, "primary users": "researchers and auditors of the study"},
        "Factors": {"relevant factors": "site of origin, device, view, age, sex, sickness"},
        "Metrics": {"discrimination": "AUC, accuracy, macro F1, recall of each class"},
        "Evaluation data": {"size": f"{_TEST_IMAGES} images"},
        "Training data": {"sites that sent updates": sorted(plan.sites)},
        "Quantitative analyses": {"test AUC": {name: f"{value:.3f}" for name, value in MODELS.items()}},
        "Ethical considerations": {"ethics reference": config.ethics_reference},
        "Caveats and recommendations": {"use": "Not a medical device, not for diagnosis."},
        "Applied model card (CHAI v0.2, fields that apply)": {"name": plan.name},
    }
