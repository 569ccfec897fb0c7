"""What the audit of one student found: the schema of audit.json.

In: figures of single public reference images. Out: frozen values with 95 % intervals that resample patients.
Nothing here is about a hospital's own images.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from server.metrics.intervals import (
    FEWEST_PATIENTS,
    TOO_FEW,
    Interval,
    patient_resamples,
    percentile_interval,
)
from shared.config.values import Frozen

NUM_RESAMPLES = 1000
FIGURES = {
    "lift_student": "student map: energy in the region over the region's area (1 is uniform)",
    "lift_teacher": "teacher map: energy in the region over the region's area",
    "lift_explainer": "explainer mask: energy in the region over the region's area",
    "lift_random": "random maps as coarse as the student's: energy in the region over its area (floor)",
    "lift_centre": "a bump in the middle of the image: energy in the region over its area (floor)",
    "lesion_student": "student map: energy in the lesions over their area",
    "lesion_teacher": "teacher map: energy in the lesions over their area",
    "lesion_random": "random maps: energy in the lesions over their area (floor)",
    "border_student": "student map: energy in the border ring over its area",
    "corners_student": "student map: energy in the four corners over their area",
    "border_teacher": "teacher map: energy in the border ring over its area",
    "corners_teacher": "teacher map: energy in the four corners over their area",
    "insertion_student": "insertion AUC of the student map (high is faithful)",
    "insertion_teacher": "insertion AUC of the teacher map, on the teacher",
    "insertion_random": "insertion AUC of a random map (floor)",
    "deletion_student": "deletion AUC of the student map (low is faithful)",
    "deletion_teacher": "deletion AUC of the teacher map, on the teacher",
    "deletion_random": "deletion AUC of a random map (floor)",
    "agreement_teacher": "rank correlation of student and teacher map",
    "agreement_explainer": "rank correlation of student map and explainer mask",
    "mask_area": "mean of the explainer's mask (1 is the whole image)",
    "probability_true": "student's probability of the true class",
}


class ImageAudit(Frozen):
    """One reference image: `key` is a digest of its identity, `patient` a number within this audit.

    `figures` holds every name of `FIGURES`; None is "not measured". `picture` is relative to the run folder.
    """

    key: str
    patient: int
    site: str
    true_class: str
    predicted_class: str
    finite: bool
    has_region: bool
    evidence_student: bool
    evidence_teacher: bool
    figures: dict[str, float | None]
    picture: str | None = None


class Group(Frozen):
    """Means over images of one class, one site of origin, or all; `n` of a figure counts measured images."""

    name: str
    num_images: int
    num_without_evidence: int
    figures: dict[str, Interval]


class DriftFigure(Frozen):
    """One figure of what changed, of the images of one class or of all."""

    name: str
    label: str
    interval: Interval


class Drift(Frozen):
    """What changed since the last accepted student of this study, on the reference images that both saw.

    `baseline` is the SHA-256 of that student's weights, `baseline_uid` the study in which it was made.
    """

    baseline: str
    baseline_uid: str
    num_images: int
    figures: tuple[DriftFigure, ...]


class AuditResult(Frozen):
    """Everything that gate, report and model card read of one audit; `drift` None where there is no earlier student."""

    finite_weights: bool
    has_explainer: bool
    num_images: int
    num_patients: int
    num_with_region: int
    num_without_evidence: int
    num_not_finite: int
    student_layer: str
    student_channels: int
    teacher_layer: str
    teacher_channels: int
    teacher_channels_available: int
    num_steps: int
    method: str
    overall: Group
    by_class: tuple[Group, ...]
    by_site: tuple[Group, ...]
    lift_ratio: Interval
    images: tuple[ImageAudit, ...]
    drift: Drift | None = None


def badness(image: ImageAudit) -> tuple[bool, bool, float, str]:
    """Sort key, worst first: no evidence, then least energy in the region, then least agreement."""
    lift, likeness = image.figures["lift_student"], image.figures["agreement_teacher"]
    worth = lift if lift is not None else likeness if likeness is not None else 0.0
    return image.evidence_student, lift is None, worth, image.key


def group(name: str, images: Sequence[ImageAudit]) -> Group:
    """Mean and interval of every figure over some images."""
    return Group(
        name=name,
        num_images=len(images),
        num_without_evidence=sum(image.finite and not image.evidence_student for image in images),
        figures={figure: mean_interval(images, figure) for figure in FIGURES},
    )


def groups_by(images: Sequence[ImageAudit], name_of: Callable[[ImageAudit], str]) -> tuple[Group, ...]:
    """One group for each name, sorted."""
    names = sorted({name_of(image) for image in images})
    return tuple(group(name, [image for image in images if name_of(image) == name]) for name in names)


def mean_interval(images: Iterable[ImageAudit], figure: str) -> Interval:
    """Mean of one figure over the images where it was measured."""
    measured = [(image.patient, value) for image in images if (value := image.figures[figure]) is not None]
    if not measured:
        return Interval(value=None, reason="not measured on any image")
    values = np.array([value for _, value in measured])
    return _resampled([patient for patient, _ in measured], values, np.ones_like(values))


def ratio_interval(images: Iterable[ImageAudit], above: str, below: str) -> Interval:
    """Mean of one figure over the mean of another, on the images that have both."""
    pairs = [(i.patient, i.figures[above], i.figures[below]) for i in images]
    both = [(patient, a, b) for patient, a, b in pairs if a is not None and b is not None]
    if not both or not sum(b for _, _, b in both) > 0:
        return Interval(value=None, reason="not measured on any image")
    tops, bottoms = np.array([a for _, a, _ in both]), np.array([b for _, _, b in both])
    return _resampled([patient for patient, _, _ in both], tops, bottoms)


def _resampled(
    patients: Sequence[int], tops: npt.NDArray[np.float64], bottoms: npt.NDArray[np.float64]
) -> Interval:
    """Ratio of sums, with the interval over resamples of patients; a mean is the ratio to a row of ones."""
    value = float(tops.sum() / bottoms.sum())
    numbers = np.unique(patients, return_inverse=True)[1].astype(np.int64)
    if numbers.max() + 1 < FEWEST_PATIENTS:
        return Interval(value=value, n=len(tops), reason=TOO_FEW)
    draws = [(w @ tops) / (w @ bottoms) for w in patient_resamples(numbers, NUM_RESAMPLES, seed=0)]
    return percentile_interval(value, np.concatenate(draws), len(tops))
