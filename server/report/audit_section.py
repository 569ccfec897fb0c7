"""What the audit says, as rows and cards of the report.

In: an `AuditResult`, and the run folder for pictures of public reference images. Out:
rows of text and pictures as data URIs. What is not there prints as 'not measured'; nothing is guessed.
"""

import base64
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from server.metrics.audit_result import AuditResult, Group, ImageAudit
from server.presentation.formatting import NOT_MEASURED, shown
from server.presentation.model_names import MAP_NAMES
from server.presentation.svg_charts import interval_bar, interval_text

PANELS = ("image, region outlined", "explainer's mask", "teacher's map", "student's map")
LIFTS = tuple((f"lift_{key}", name[0].upper() + name[1:]) for key, name in MAP_NAMES.items())
BEHAVIOUR = (
    ("insertion_student", "insertion"),
    ("insertion_random", "… of a random map"),
    ("insertion_teacher", "… of the teacher"),
    ("deletion_student", "deletion"),
    ("deletion_random", "… of a random map"),
    ("deletion_teacher", "… of the teacher"),
    ("agreement_teacher", "agreement with teacher"),
    ("agreement_explainer", "agreement with mask"),
    ("mask_area", "mask area"),
    ("border_student", "lift of border"),
    ("corners_student", "lift of corners"),
)


@dataclass(frozen=True)
class Example:
    """One reference image with its mask and maps, in one picture."""

    title: str
    caption: str
    picture: str


@dataclass(frozen=True)
class LiftRow:
    """One figure with its interval, its bar and the number of images that it was measured on."""

    name: str
    num_images: str
    text: str
    bar: Markup


@dataclass(frozen=True)
class GroupRow:
    """The figures of one class, one site of origin, or all."""

    name: str
    num_images: str
    without_evidence: str
    lifts: tuple[str, ...]
    behaviour: tuple[str, ...]


def map_words(audit: AuditResult | None) -> str:
    """Say how the maps were made: the method, the layers, and how many of the teacher's channels were used."""
    if audit is None:
        return NOT_MEASURED
    used, of = shown(audit.teacher_channels), shown(audit.teacher_channels_available)
    share = f"all {of} channels" if used == of else f"{used} of its {of} channels"
    return (
        f"{audit.method} The student's map comes from its layer {audit.student_layer} "
        f"({shown(audit.student_channels)} channels), the teacher's from its layer {audit.teacher_layer} ({share})."
    )


def lift_rows(audit: AuditResult | None) -> list[LiftRow]:
    """Lift of every map over all images, on one scale with 1 (uniform) marked."""
    measured = [] if audit is None else [(name, audit.overall.figure(key)) for key, name in LIFTS]
    edges = [edge for _, one in measured for edge in (one.value, one.high) if edge is not None]
    top = max([2.0, *edges])
    return [
        LiftRow(
            name, str(one.n), interval_text(one, 2), interval_bar(f"Lift, {name}", one, 0, top, marks=(1,))
        )
        for name, one in measured
        if one.value is not None
    ]


def group_rows(audit: AuditResult | None) -> list[GroupRow]:
    """All images, then by class, then by site of origin."""
    if audit is None:
        return []
    named = [("All", audit.overall)]
    named += [(f"class {one.name}", one) for one in audit.by_class]
    named += [(f"from {one.name}", one) for one in audit.by_site]
    return [
        GroupRow(
            name=name,
            num_images=shown(one.num_images),
            without_evidence=shown(one.num_without_evidence),
            lifts=tuple(_cell(one, key) for key, _ in LIFTS),
            behaviour=tuple(_cell(one, key) for key, _ in BEHAVIOUR),
        )
        for name, one in named
    ]


def examples(audit: AuditResult | None, run_dir: Path) -> list[Example]:
    """Cards of the pictured images, worst first (the audit numbers its pictures so)."""
    pictured = [(one.picture, one) for one in (audit.images if audit else ()) if one.picture]
    found = [(one, data_uri(run_dir, name)) for name, one in sorted(pictured, key=lambda pair: pair[0])]
    return [_example(one, picture) for one, picture in found if picture is not None]


def data_uri(run_dir: Path, name: str) -> str | None:
    """Read a PNG inside the run folder as a data URI; anything outside or missing is None."""
    path = (run_dir / name).resolve()
    if path.suffix != ".png" or not path.is_relative_to(run_dir.resolve()) or not path.is_file():
        return None
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


def _example(one: ImageAudit, picture: str) -> Example:
    facts = [f"image of {shown(one.site)}"]
    facts += [
        f"{text} {value:.2f}"
        for key, text in (
            ("probability_true", "probability of the true class"),
            ("lift_student", "lift of the student's map"),
            ("lift_teacher", "lift of the teacher's map"),
            ("agreement_teacher", "agreement of both maps"),
            ("mask_area", "mask area"),
        )
        if (value := one.figure(key)) is not None
    ]
    if not one.evidence_student:
        facts.append("the student shows no positive evidence")
    if not one.evidence_teacher:
        facts.append("teacher: no positive evidence")
    right = one.true_class == one.predicted_class
    verdict = "✓ right" if right else f"✕ wrong: student says {one.predicted_class}"
    return Example(f"{one.true_class} — {verdict}", "; ".join(facts), picture)


def _cell(one: Group, key: str) -> str:
    figure = one.figure(key)
    return "—" if figure.value is None else interval_text(figure, 2)
