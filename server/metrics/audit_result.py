"""What the audit of one student found: the schema of audit.json.

In: figures of single public reference images, that `server/audit` measured. Out: frozen values with 95 % intervals that
resample patients. Nothing here is about a hospital's own images.
"""

from typing import Final

from server.metrics.intervals import Interval
from shared.config.values import Frozen

FIGURES: Final = {
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


UNMEASURED: Final = Interval(value=None, reason="not measured on any image")


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

    def figure(self, name: str) -> float | None:
        """Return a figure; None also where an older audit did not know it."""
        return self.figures.get(name)


class Group(Frozen):
    """Means over images of one class, one site of origin, or all; `n` of a figure counts measured images."""

    name: str
    num_images: int
    num_without_evidence: int
    figures: dict[str, Interval]

    def figure(self, name: str) -> Interval:
        """Return a figure; not measured also where an older audit did not know it."""
        return self.figures.get(name, UNMEASURED)


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
