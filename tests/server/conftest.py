"""A realistic, made-up run for the tests of report and model card: every number is drawn from a seed."""

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from server.metrics.audit_result import AuditResult, Group, ImageAudit
from server.metrics.gate_result import Check, GateResult
from server.metrics.intervals import Interval
from server.metrics.measured import Calibrated, Metrics, ModelFacts
from server.metrics.metrics import evaluate, paired_difference
from server.runs.summary import (
    ByModel,
    Event,
    Paired,
    Round,
    SeedResult,
    SiteCounts,
    StudyFacts,
    Summary,
    auc_of,
)
from shared.config.study import Privacy, StudyConfig, Task
from shared.messages.release_kinds import LedgerStatement, PartitionSpend
from shared.privacy.mechanisms import MechanismCount, PoissonGaussian

SITES = ("guangzhou_wcmc", "nih_cc_ap", "nih_cc_pa")
CLASSES = ("normal", "pneumonia")
HEAD = "9f2c41d07be85a63" * 4


@pytest.fixture(scope="session")
def full_study() -> StudyConfig:
    """Return the study that `full_summary` reports on."""
    return StudyConfig(
        name="chest-normal-pneumonia",
        purpose="Tell pneumonia from normal on frontal chest X-rays of three hospitals, and see where it looks.",
        ethics_reference="public data sets only",
        expires=date(2030, 1, 1),
        task=Task(classes=CLASSES, image_size=128, positive="pneumonia"),
    )


@pytest.fixture(scope="session")
def full_summary(full_study: StudyConfig) -> Summary:
    """Return a completed, held run after a comparison, with two seeds."""
    metrics = ByModel[Metrics](
        teacher=_metrics(1.9),
        warm_start=_metrics(0.8),
        federated_private=_metrics(1.25),
        federated=_metrics(1.5),
        central=_metrics(1.6),
        trivial=_metrics(1.1),
        site_alone={site: _metrics(0.5 + 0.15 * k) for k, site in enumerate(SITES)},
        site_alone_without_privacy={site: _metrics(0.9 + 0.15 * k) for k, site in enumerate(SITES)},
        methods={"hybrid": _metrics(1.2), "kd": _metrics(1.1)},
    )
    auc = auc_of(metrics)
    pairs = tuple(
        Paired(a="federated_private", b=b, difference=_difference(1.25, skill))
        for b, skill in (("warm_start", 0.8), ("federated", 1.5), ("trivial", 1.1))
    )
    return Summary(
        status="completed",
        verdict="held",
        reasons=("energy in the region",),
        seconds={"teacher": 61.2, "warm start": 140.5, "rounds": 402.0, "audit": 83.3, "compare": 3000.0},
        study=StudyFacts(
            name=full_study.name,
            digest=full_study.digest(),
            uid="4be1" * 8,
            method="rounds",
            data_kind="real",
            data_name="Chest X-ray pack (NIH, Guangzhou)",
            classes=CLASSES,
            image_size=128,
            notes=(
                "Guangzhou is children, the other sites are adults: age and framing carry class.",
                "nih_cc_ap and nih_cc_pa are one hospital, split by view.",
                "A test cell has 4 to 24 images; read the intervals.",
            ),
            purpose=full_study.purpose,
            attribution="NIH Clinical Center (https://nihcc.app.box.com/v/ChestXray-NIHCC); Kermany et al. 2018.",
        ),
        model=ModelFacts(
            teacher="vgg19, trained on the public cohort",
            student="OFA-595",
            explainer="U-Net, width 16, grid of 1/8",
            fill="zero",
            normalisation="group",
            trainable_set="scales",
            num_parameters=7_912_345,
            num_trainable=41_226,
            num_macs=211_000_000,
            num_bytes=31_700_000,
        ),
        test_auc=auc,
        metrics=metrics,
        paired=pairs,
        site_counts={"film": SiteCounts(counts=((30.5, 4.2), (3.9, 21.1)), noise_std=1.0)},
        by_site_of_origin={site: _metrics(1.0, 24, seed=k) for k, site in enumerate(SITES)},
        trivial_by_site_of_origin={site: _metrics(0.3, 24, seed=k).auc for k, site in enumerate(SITES)},
        temperature=1.37,
        calibrated=Calibrated(
            ece=Interval(value=0.5, n=48), brier=Interval(value=0.4, low=0.3, high=0.5, n=48)
        ),
        privacy=Privacy(noise_multiplier=1.12),
        epsilon={"guangzhou_wcmc": 7.31, "nih_cc_ap": 7.94, "nih_cc_pa": 5.9},
        delta=dict.fromkeys(SITES, 1e-5),
        statements={site: _statement(site, eps) for site, eps in zip(SITES, (7.31, 7.94, 5.9), strict=True)},
        events=(
            Event(round=3, site="nih_cc_pa", code="deadline", what="no answer by the deadline"),
            Event(round=6, site="nih_cc_pa", code="budget_spent", what="refused; not asked again"),
        ),
        bytes_sent={site: (166_212,) * (8 - k) for k, site in enumerate(SITES)},
        rounds=tuple(_round(number, auc.warm_start) for number in range(1, 9)),
        audit=_audit(),
        gate=_gate(),
        seeds=tuple(
            SeedResult(
                seed=seed,
                test_auc=ByModel[Interval](federated_private=auc.federated_private, trivial=auc.trivial),
                paired=pairs[2:],
            )
            for seed in (0, 1)
        ),
        digests={"code": "ab" * 32, "cohort": "cd" * 32, "student": "ef" * 32},
        versions={"python": "3.11.9", "torch": "2.15.0", "flwr": "1.41.0"},
    )


@pytest.fixture(scope="session")
def minimal_summary() -> Summary:
    """Return a run that failed before anything was measured."""
    return Summary(
        status="failed",
        reasons=("two sites enrolled, three were needed",),
        study=StudyFacts(
            name="phantoms",
            digest="00" * 32,
            uid="11" * 16,
            method="kd",
            data_kind="made",
            data_name="phantoms",
            classes=CLASSES,
            image_size=64,
        ),
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Return a run folder with three pictures, as the audit leaves them."""
    (tmp_path / "audit").mkdir()
    for name, grey in (("01", 60), ("02", 90), ("03", 120)):
        picture = np.full((192, 4 * 192 + 12, 3), grey, np.uint8)
        for panel in range(4):
            picture[40:150, panel * 196 + 40 : panel * 196 + 90 + 15 * panel] = (230, 159, 0)
        Image.fromarray(picture).save(tmp_path / "audit" / f"{name}.png")
    Image.fromarray(np.full((14, 192, 3), 200, np.uint8)).save(tmp_path / "audit" / "scale.png")
    return tmp_path


def _predictions(skill: float, count: int, seed: int) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    shared, own = rng.normal(size=count), np.random.default_rng(round(1000 * skill)).normal(size=count)
    logit = skill * (2 * labels - 1) + 0.7 * shared + 0.7 * own
    positive = 1 / (1 + np.exp(-logit))
    return np.stack([1 - positive, positive], 1), labels, np.arange(count) // 2


def _metrics(skill: float, count: int = 96, seed: int = 0) -> Metrics:
    return evaluate(*_predictions(skill, count, seed), CLASSES, num_resamples=200)


def _difference(a: float, b: float) -> Interval:
    first, labels, patients = _predictions(a, 96, 0)
    second = _predictions(b, 96, 0)[0]
    return paired_difference(first, second, labels, patients, CLASSES, num_resamples=200)


def _round(number: int, start: Interval | None) -> Round:
    assert start is not None
    assert start.value is not None
    missing = {"nih_cc_pa": "no answer by the deadline"} if number == 3 else {}
    missing = {"nih_cc_pa": "budget_spent"} if number == 6 else missing
    value = start.value + 0.11 * (1 - 0.7**number)
    return Round(
        round=number,
        answered=tuple(site for site in SITES if site not in missing and (number < 7 or site != "nih_cc_pa")),
        missing=missing,
        test_auc=Interval(value=value, low=value - 0.08, high=min(1, value + 0.06), n=48),
        mask_area=0.82 - 0.04 * number,
        seconds=48.0 + number,
        epsilon={
            site: top * min(number, last) ** 0.55 / last**0.55
            for site, top, last in zip(SITES, (7.31, 7.94, 5.9), (8, 8, 5), strict=True)
        },
    )


def _statement(site: str, epsilon: float) -> LedgerStatement:
    steps = PoissonGaussian(noise_multiplier=1.12, sample_rate=0.1, steps=80)
    spend = PartitionSpend(
        partition="train",
        epsilon=epsilon,
        pld_epsilon=epsilon - 0.02,
        accountant="prv",
        mechanisms=(MechanismCount(mechanism=steps, rows=8),),
    )
    return LedgerStatement(
        site=site,
        head_seq=8,
        head_hash=HEAD,
        epsilon=epsilon,
        delta=1e-5,
        partitions=(spend,),
        cap_epsilon=10.0 if site == "nih_cc_ap" else None,
        span="this run alone (simulation)",
    )


FIGURES = {
    "lift_student": 1.31, "lift_teacher": 1.62, "lift_explainer": 1.12, "lift_random": 1.01, "lift_centre": 1.38,
    "border_student": 0.44, "corners_student": 0.31, "border_teacher": 0.3, "corners_teacher": 0.2,
    "insertion_student": 0.71, "insertion_random": 0.58, "deletion_student": 0.39, "deletion_random": 0.52,
    "insertion_teacher": 0.83, "deletion_teacher": 0.35,
    "agreement_teacher": 0.46, "agreement_explainer": 0.35, "mask_area": 0.52, "probability_true": 0.61,
}  # fmt: skip


def _audit() -> AuditResult:
    def group(name: str, count: int, factor: float) -> Group:
        figures = {
            key: Interval(value=v * factor, low=v * factor * 0.85, high=v * factor * 1.14, n=count)
            for key, v in FIGURES.items()
        }
        return Group(name=name, num_images=count, num_without_evidence=1, figures=figures)

    return AuditResult(
        finite_weights=True,
        has_explainer=True,
        num_images=24,
        num_patients=24,
        num_with_region=20,
        num_without_evidence=1,
        num_not_finite=0,
        student_layer="stage4",
        student_channels=136,
        teacher_layer="features.28",
        teacher_channels=64,
        teacher_channels_available=512,
        num_steps=8,
        method="Score-CAM for the true class.",
        overall=group("all", 24, 1.0),
        by_class=tuple(group(name, 12, 0.96 + 0.08 * k) for k, name in enumerate(CLASSES)),
        by_site=tuple(group(site, 8, 0.9 + 0.1 * k) for k, site in enumerate(SITES)),
        lift_ratio=Interval(value=1.3, low=1.12, high=1.5, n=20),
        images=tuple(_image(k) for k in range(5)),
    )


def _image(k: int) -> ImageAudit:
    return ImageAudit(
        key=f"{k:016x}",
        patient=k,
        site=SITES[k % 3],
        true_class=CLASSES[k % 2],
        predicted_class=CLASSES[(k + (k == 0)) % 2],
        finite=True,
        has_region=True,
        evidence_student=k != 0,
        evidence_teacher=k != 1,
        figures=FIGURES | {"lift_student": None if k == 0 else 0.4 + k / 10},
        picture=f"audit/{k + 1:02d}.png" if k < 3 else None,
    )


def _gate() -> GateResult:
    auc = "The AUC on the public test set is 0.86; the whole interval must be at least 0.6."
    energy = "1.30 times as much energy as random maps; 1.5 is asked."
    return GateResult(
        verdict="held",
        sentence="Held because of: energy in the region.",
        checks=(
            Check(
                name="finite numbers",
                value=None,
                threshold=None,
                passed=True,
                sentence="All weights and outputs are finite.",
            ),
            Check(name="test AUC", value=0.86, threshold=0.6, side="least", passed=True, sentence=auc),
            Check(
                name="energy in the region",
                value=1.3,
                threshold=1.5,
                side="least",
                passed=False,
                sentence=energy,
            ),
            Check(
                name="mask area",
                value=None,
                threshold=0.95,
                side="most",
                passed=None,
                sentence="No explainer: there is no mask to judge.",
            ),
        ),
    )
