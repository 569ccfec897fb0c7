from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from server.audit.image_maps import teacher_layer
from server.audit.image_selection import choose_images
from server.audit.results import mean_interval, ratio_interval
from server.audit.run_audit import run_audit
from server.metrics.audit_result import FIGURES, AuditResult
from server.metrics.intervals import TOO_FEW
from shared.config.files import parse_study
from shared.config.study import StudyConfig
from shared.data.patients import ImageRecord, Patient
from shared.errors import DataError
from shared.models.compact import CompactModel, build_compact
from shared.models.teacher import Teacher, build_teacher

SIZE = 64


def study_of(method: str = "rounds", **audit: float) -> StudyConfig:
    """Make a study with the smallest sub-network of the supernet."""
    subnet = {"kernels": [3] * 20, "expand_ratios": [3] * 20, "depths": [2] * 5}
    return parse_study(
        {
            "name": "audit",
            "purpose": "test",
            "ethics_reference": "none needed",
            "expires": "2099-01-01",
            "task": {"classes": ["normal", "opacity"], "image_size": SIZE},
            "models": {"student": {"architecture": subnet}},
            "distillation": {"method": method},
            "audit": {"num_images": 6, "teacher_channels": 4} | audit,
        }
    )


def write_reference(folder: Path) -> list[Patient]:
    """Write six patients of two classes and two sites; masks at site a only, one lesion mask, one empty."""
    rng = np.random.default_rng(0)
    patients = []
    for number in range(6):
        label, site = number % 2, "a" if number < 4 else "b"
        file = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (SIZE, SIZE), np.uint8)).save(file)
        mask, lesions = folder / f"{number}-mask.png", folder / f"{number}-lesions.png"
        inside = np.zeros((SIZE, SIZE), np.uint8)
        inside[16:48, 8:28] = 255
        Image.fromarray(inside).save(mask)
        Image.fromarray(inside if number == 1 else inside * 0).save(lesions)
        record = ImageRecord(
            file, label, site, f"p{number}", "test",
            mask if site == "a" else None,
            lesion_mask=lesions if number in {0, 1} else None,
        )  # fmt: skip
        patients.append(Patient(f"p{number}", (record,)))
    return patients


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> list[Patient]:
    """Write the reference set once."""
    return write_reference(tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module")
def teacher() -> Teacher:
    """Build a small teacher."""
    return build_teacher("resnet18", 2, SIZE)


@pytest.fixture(scope="module")
def compact() -> CompactModel:
    """Build an untrained compact model."""
    return build_compact(study_of())


@pytest.fixture(scope="module")
def audited(
    reference: list[Patient],
    teacher: Teacher,
    compact: CompactModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[AuditResult, Path]:
    """Audit the untrained model once."""
    folder = tmp_path_factory.mktemp("run")
    return run_audit(compact, teacher, reference, study_of(), folder), folder


def test_the_audit_is_the_same_every_time_and_survives_json(
    audited: tuple[AuditResult, Path], reference: list[Patient], teacher: Teacher, compact: CompactModel,
    tmp_path: Path,
) -> None:  # fmt: skip
    """A second audit, of patients in another order, gives the same figures and pictures; JSON loses nothing."""
    first, folder = audited
    steps: list[tuple[int, int]] = []
    again = run_audit(
        compact, teacher, reference[::-1], study_of(), tmp_path, progress=lambda *s: steps.append(s)
    )
    assert again == first
    assert AuditResult.model_validate_json(first.model_dump_json()) == first
    assert steps == [(n, 6) for n in range(1, 7)]
    for picture in folder.rglob("*.png"):
        assert picture.read_bytes() == (tmp_path / picture.relative_to(folder)).read_bytes()


def test_what_was_not_measured_is_none_and_counted_out(audited: tuple[AuditResult, Path]) -> None:
    """Images without a mask have no lift, an empty lesion mask measures nothing, and n says so."""
    result, _ = audited
    for image in result.images:
        assert (image.figures["lift_random"] is not None) == (image.site == "a")
        assert set(image.figures) == set(FIGURES)
    assert result.num_with_region == 4
    assert result.overall.figures["lift_random"].n == 4
    assert result.overall.figures["lesion_random"].n == 1
    site_b = result.by_site[1]
    assert (site_b.name, site_b.num_images) == ("b", 2)
    assert site_b.figures["lift_student"].value is None
    assert site_b.figures["lift_student"].reason


def test_each_map_is_judged_on_its_own_model(audited: tuple[AuditResult, Path]) -> None:
    """Student and teacher have curves where their maps show evidence, and none where a map orders no pixels."""
    result, _ = audited
    assert any(image.evidence_teacher for image in result.images)
    for image in result.images:
        for model, evidence in (("student", image.evidence_student), ("teacher", image.evidence_teacher)):
            curves = [image.figures[f"{kind}_{model}"] for kind in ("insertion", "deletion")]
            assert all((value is not None) == evidence for value in curves)
            assert all(value is None or 0 <= value <= 1 for value in curves)


def test_means_are_those_of_the_single_images(audited: tuple[AuditResult, Path]) -> None:
    """A group's figure is the plain mean over its images, within its own interval."""
    result, _ = audited
    assert [group.name for group in result.by_class] == ["normal", "opacity"]
    for group in result.by_class:
        values = [i.figures["mask_area"] for i in result.images if i.true_class == group.name]
        figure = group.figures["mask_area"]
        assert figure.value == pytest.approx(np.mean(values))
        assert (figure.low, figure.high, figure.reason) == (None, None, TOO_FEW)  # three patients a class
    whole = result.overall.figures["mask_area"]
    assert whole.low <= whole.value <= whole.high


def test_the_random_floor_of_an_untrained_audit_is_about_one(audited: tuple[AuditResult, Path]) -> None:
    """Random maps have a lift of about 1 while the centre map favours the middle."""
    figures = audited[0].overall.figures
    assert figures["lift_random"].value == pytest.approx(1, abs=0.1)
    assert figures["lift_centre"].value > 1.2


def test_pictures_are_worst_first_and_lie_beside_the_result(audited: tuple[AuditResult, Path]) -> None:
    """Every named picture exists, relative to the folder, and lift rises with its number."""
    result, folder = audited
    shown = sorted((i for i in result.images if i.picture), key=lambda image: image.picture)
    assert [image.picture for image in shown] == [f"audit/{n:02d}.png" for n in range(1, 7)]
    assert all((folder / image.picture).is_file() for image in shown)
    assert (folder / "audit" / "scale.png").is_file()
    lifts = [image.figures["lift_student"] for image in shown]
    badness = [
        (image.evidence_student, np.inf if lift is None else lift)
        for image, lift in zip(shown, lifts, strict=True)
    ]
    assert all(before <= after for before, after in pairwise(badness))


def test_the_model_that_the_student_is_run_through_matters(
    audited: tuple[AuditResult, Path], reference: list[Patient], teacher: Teacher, tmp_path: Path
) -> None:
    """Without an explainer its figures are not measured instead of being those of a full mask."""
    study = study_of("hybrid")
    result = run_audit(build_compact(study), teacher, reference[:2], study, tmp_path)
    assert not result.has_explainer
    assert result.overall.figures["mask_area"].value is None
    assert result.overall.figures["lift_explainer"].value is None
    assert audited[0].overall.figures["mask_area"].value > 0.5


def test_weights_that_are_not_finite_are_reported_not_run(
    reference: list[Patient], teacher: Teacher, tmp_path: Path
) -> None:
    """A student with a NaN weight gives an audit without images that says why."""
    study = study_of()
    broken = build_compact(study)
    next(broken.student.parameters()).data[0] = float("nan")
    result = run_audit(broken, teacher, reference, study, tmp_path)
    assert not result.finite_weights
    assert result.images == ()
    assert result.lift_ratio.value is None


def test_outputs_that_overflow_are_counted(
    reference: list[Patient], teacher: Teacher, tmp_path: Path
) -> None:
    """A student with finite weights and infinite logits has images without figures, each counted."""
    study = study_of()
    broken = build_compact(study)
    broken.student.classifier.linear.weight.data.fill_(3e38)
    result = run_audit(broken, teacher, reference[:1], study, tmp_path)
    assert result.finite_weights
    assert result.num_not_finite == 1
    assert set(result.images[0].figures.values()) == {None}


def test_an_unreadable_image_stops_the_audit(
    reference: list[Patient], teacher: Teacher, compact: CompactModel, tmp_path: Path
) -> None:
    """A reference image that cannot be read is a mistake of the hub's and raises DataError."""
    lost = replace(reference[0].images[0], file=tmp_path / "lost.png")
    with pytest.raises(DataError):
        run_audit(compact, teacher, [Patient("p0", (lost,))], study_of(), tmp_path)


def test_the_model_is_left_in_train_mode(reference: list[Patient], teacher: Teacher, tmp_path: Path) -> None:
    """A compact model in train mode is in train mode again afterwards."""
    compact = build_compact(study_of()).train()
    run_audit(compact, teacher, reference[:1], study_of(), tmp_path)
    assert all(module.training for module in compact.modules())


def test_images_are_balanced_and_one_a_patient_first() -> None:
    """Classes take turns, then sites; second images of a patient come after all first ones; masks come first."""

    def record(label: int, site: str, patient: str, name: str, *, mask: bool = True) -> ImageRecord:
        return ImageRecord(Path(name), label, site, patient, "test", Path("m.png") if mask else None)

    many = [
        Patient(f"n{n}", (record(0, "a", f"n{n}", "x.png"), record(0, "a", f"n{n}", "y.png")))
        for n in range(9)
    ]
    few = [Patient("s0", (record(1, "b", "s0", "x.png"),)), Patient("s1", (record(1, "a", "s1", "x.png"),))]
    bare = [Patient("s2", (record(1, "a", "s2", "x.png", mask=False),))]
    chosen = [image for _, image in choose_images(many + few + bare, 13)]
    assert [image.label for image in chosen[:6]] == [0, 1, 0, 1, 0, 1]
    assert [image.site for image in chosen[1:6:2]] == ["a", "b", "a"]
    assert chosen[5].patient_id == "s2"
    assert len({image.patient_id for image in chosen[:12]}) == 12
    assert chosen[12].patient_id in {image.patient_id for image in chosen[:12]}
    assert choose_images([], 3) == []


def test_the_teacher_is_read_where_its_map_has_four_cells() -> None:
    """At 64 px a ResNet is read at stride 16, because 2 x 2 cells cannot tell lung from border."""
    assert teacher_layer(build_teacher("resnet18", 2, 64))[0] == "layer3"
    assert teacher_layer(build_teacher("resnet18", 2, 128))[0] == "layer4"


def test_intervals_resample_patients(audited: tuple[AuditResult, Path]) -> None:
    """Four copies of one patient's image say no more than one, and a ratio uses images that have both."""
    images = audited[0].images[:4]
    copies = [image.model_copy(update={"patient": index % 2}) for index, image in enumerate(images * 4)]
    few = mean_interval(copies, "probability_true")
    many = mean_interval(
        [image.model_copy(update={"patient": index}) for index, image in enumerate(images * 4)],
        "probability_true",
    )
    assert few.value == pytest.approx(many.value)
    assert few.n == many.n == 16
    assert few.low != many.low
    ratio = ratio_interval(audited[0].images, "lift_centre", "lift_random")
    measured = [i.figures for i in audited[0].images if i.figures["lift_random"] is not None]
    expected = sum(f["lift_centre"] for f in measured) / sum(f["lift_random"] for f in measured)
    assert ratio.value == pytest.approx(expected)
    assert ratio.n == 4


def test_maps_are_of_the_true_class(audited: tuple[AuditResult, Path]) -> None:
    """Figures are about the class that the image truly has, whatever the student predicts."""
    for image in audited[0].images:
        probability = image.figures["probability_true"]
        assert (probability > 0.5) == (image.predicted_class == image.true_class)
    assert torch.is_grad_enabled()
