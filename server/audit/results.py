"""From the figures of single reference images to those of groups: means and ratios, with 95 % intervals.

In: audited public reference images. Out: parts of an `AuditResult`. Intervals resample patients, not images.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from server.metrics.audit_result import FIGURES, UNMEASURED, Group, ImageAudit
from server.metrics.intervals import (
    FEWEST_PATIENTS,
    TOO_FEW,
    Interval,
    patient_resamples,
    percentile_interval,
)

NUM_RESAMPLES = 1000


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
        return UNMEASURED
    values = np.array([value for _, value in measured])
    return _resampled([patient for patient, _ in measured], values, np.ones_like(values))


def ratio_interval(images: Iterable[ImageAudit], above: str, below: str) -> Interval:
    """Mean of one figure over the mean of another, on the images that have both."""
    pairs = [(i.patient, i.figures[above], i.figures[below]) for i in images]
    both = [(patient, a, b) for patient, a, b in pairs if a is not None and b is not None]
    if not both or not sum(b for _, _, b in both) > 0:
        return UNMEASURED
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
