"""The central audit: it asks where the merged student looks, on public reference images.

In: the compact model, the teacher and reference patients. Out: `AuditResult` and pictures of the images on
which the student does worst. Reference images are public or consented; no hospital's own image comes here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor, nn

from server.audit.image_maps import STUDENT_LAYER, Views, panel, teacher_layer, views_of
from server.audit.image_selection import choose_images, key_of
from server.audit.results import badness, group, groups_by, ratio_interval
from server.metrics.audit_result import FIGURES, AuditResult, ImageAudit
from shared.config.study import StudyConfig
from shared.data.images import normalise
from shared.data.patients import Patient
from shared.explain import pictures, regions
from shared.explain.faithfulness import insertion_deletion
from shared.explain.scorecam import evaluating
from shared.models.compact import CompactModel, fill_image
from shared.models.teacher import Teacher

NUM_STEPS = 8  # of insertion and deletion
NUM_PICTURES = 12
METHOD = (
    "Score-CAM for the true class: the logit on the masked image minus the logit on the fill image weighs "
    "each channel, negative sums are cut, no map is scaled by itself. The teacher's map uses only its "
    "channels of highest spatial energy."
)


def run_audit(
    compact: CompactModel,
    teacher: Teacher,
    reference: Sequence[Patient],
    study: StudyConfig,
    folder: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
    look: Callable[[ImageAudit, Views], None] = lambda _image, _views: None,
) -> AuditResult:
    """Audit a student on at most `study.audit.num_images` reference images, for their true class.

    Writes `folder`/audit/*.png, worst first, and reports `progress` as (images done, images). `look` is shown each
    image with its maps, which are not kept here. A student whose weights are not all finite is not run: its result
    holds no image. DataError for an unreadable image.
    """
    finite_weights = all(bool(value.isfinite().all()) for value in compact.state_dict().values())
    chosen = choose_images(reference, study.audit.num_images) if finite_weights else []
    layer_name, layer = teacher_layer(teacher)
    audited: list[ImageAudit] = []
    worst: list[tuple[int, Views]] = []
    with evaluating(compact), evaluating(teacher):
        for index, (number, record) in enumerate(chosen):
            views = views_of(compact, teacher, layer, record, study)
            audited.append(_measured(compact, teacher, views, number, study))
            look(audited[-1], views)
            # only the worst are kept, so that memory does not grow with the number of images
            worst = sorted([*worst, (index, views)], key=lambda entry: badness(audited[entry[0]]))[
                :NUM_PICTURES
            ]
            if progress:
                progress(index + 1, len(chosen))
    for rank, (index, views) in enumerate(worst, start=1):
        name = f"audit/{rank:02d}.png"
        pictures.write_png(panel(views), folder / name)
        audited[index] = audited[index].model_copy(update={"picture": name})
    pictures.write_png(pictures.scale_bar(), folder / "audit" / "scale.png")
    return _result(audited, finite_weights, compact, layer_name, worst[0][1] if worst else None)


def _measured(
    compact: CompactModel, teacher: Teacher, views: Views, number: int, study: StudyConfig
) -> ImageAudit:
    record, student, taught = views.record, views.student, views.teacher
    finite = bool(student.logits.isfinite().all()) and bool(student.map.isfinite().all())
    measured: dict[str, float | None] = dict.fromkeys(FIGURES)
    if finite:
        measured |= _regions(compact, views) | _faithfulness(compact, teacher, views)
        measured["probability_true"] = float(student.logits.softmax(0)[record.label])
    return ImageAudit(
        key=key_of(record),
        patient=number,
        site=record.site,
        true_class=study.task.classes[record.label],
        predicted_class=study.task.classes[int(student.logits.argmax())],
        finite=finite,
        has_region=views.region is not None and bool(views.region.any()),
        evidence_student=finite and not student.no_evidence,
        evidence_teacher=not taught.no_evidence,
        figures=measured,
    )


def _regions(compact: CompactModel, views: Views) -> dict[str, float | None]:
    found, taught, region = views.student.map, views.teacher.map, views.region
    size, grid = (found.shape[0], found.shape[1]), views.student.grid
    ring, boxes = regions.border_ring(size), regions.corners(size)
    over_area = regions.energy_over_area
    with_mask = compact.explainer is not None
    return {
        "lift_student": over_area(found, region),
        "lift_teacher": over_area(taught, region),
        "lift_explainer": over_area(views.mask, region) if with_mask else None,
        "lift_random": regions.random_lift(region, grid, key_of(views.record)),
        "lift_centre": over_area(regions.centre_map(size), region),
        "lesion_student": over_area(found, views.lesions),
        "lesion_teacher": over_area(taught, views.lesions),
        "lesion_random": regions.random_lift(views.lesions, grid, key_of(views.record)),
        "border_student": over_area(found, ring),
        "corners_student": over_area(found, boxes),
        "border_teacher": over_area(taught, ring),
        "corners_teacher": over_area(taught, boxes),
        "agreement_teacher": regions.agreement(found, taught, grid),
        "agreement_explainer": regions.agreement(found, views.mask, grid) if with_mask else None,
        "mask_area": float(views.mask.mean()) if with_mask else None,
    }


def _faithfulness(compact: CompactModel, teacher: Teacher, views: Views) -> dict[str, float | None]:
    """Measure each map on the model that it is of; a map without evidence orders no pixels and has no curve."""
    asked: list[tuple[str, nn.Module, Tensor]] = []
    if not views.student.no_evidence:
        asked += [("student", compact, views.student.map), ("random", compact, views.random)]
    if not views.teacher.no_evidence:
        asked.append(("teacher", teacher, views.teacher.map))
    x = normalise(views.pixels)
    fill = fill_image(x[None], compact.fill)[0]
    measured: dict[str, float | None] = {}
    for name, model, found in asked:
        curves = insertion_deletion(
            model,
            x,
            found,
            views.record.label,
            baseline=fill,
            steps=NUM_STEPS,
            tie_key=key_of(views.record),
        )
        measured |= {f"insertion_{name}": curves.insertion, f"deletion_{name}": curves.deletion}
    return measured


def _result(
    audited: Sequence[ImageAudit],
    finite_weights: bool,
    compact: CompactModel,
    layer_name: str,
    example: Views | None,
) -> AuditResult:
    return AuditResult(
        finite_weights=finite_weights,
        has_explainer=compact.explainer is not None,
        num_images=len(audited),
        num_patients=len({image.patient for image in audited}),
        num_with_region=sum(image.has_region for image in audited),
        num_without_evidence=sum(image.finite and not image.evidence_student for image in audited),
        num_not_finite=sum(not image.finite for image in audited),
        student_layer=STUDENT_LAYER,
        student_channels=len(example.student.channel_indices) if example else 0,
        teacher_layer=layer_name,
        teacher_channels=len(example.teacher.channel_indices) if example else 0,
        teacher_channels_available=example.teacher.num_channels if example else 0,
        num_steps=NUM_STEPS,
        method=METHOD,
        overall=group("all images", audited),
        by_class=groups_by(audited, lambda image: image.true_class),
        by_site=groups_by(audited, lambda image: image.site),
        lift_ratio=ratio_interval(audited, "lift_student", "lift_random"),
        images=tuple(audited),
    )
