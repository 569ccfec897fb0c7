"""Preparing a study: public sets that never meet, a kept teacher, weights named by their content."""

from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants as hub

from server.public_data.images import load_public
from server.public_data.preparation import (
    TeacherFit,
    calibration_part,
    load_teacher,
    public_sets,
    training_part,
    with_public_digests,
    with_teacher,
    with_warm_start,
)
from shared.config.files import read_study
from shared.config.study import StudyConfig
from shared.data.tables.manifest import write_manifest
from shared.errors import ConfigError, DataError
from shared.models.initial import unpack_initial
from shared.models.normalisation import fold_batch_norm
from shared.models.student import batch_norm_network
from shared.models.weights import file_sha256, find_weights, load_weights, save_weights


def quiet(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""


def without_teacher(study: StudyConfig) -> StudyConfig:
    """Return the study as it was before a teacher was fitted."""
    teacher = study.models.teacher.model_copy(update={"sha256": None})
    return study.model_copy(update={"models": study.models.model_copy(update={"teacher": teacher})})


@pytest.fixture
def workspace(tiny_federation, tmp_path: Path) -> Path:
    """Return an unprepared workspace with the tiny federation's public sets."""
    for name, patients in public_sets(tiny_federation.workspace, tiny_federation.study).items():
        write_manifest(patients, tmp_path / "public" / f"{name}.csv", tiny_federation.study.task)
    return tmp_path


def test_calibration_patients_train_nothing(tiny_federation) -> None:
    """Training and calibration part share no patient and are the cohort together."""
    study = tiny_federation.study
    cohort = load_public(public_sets(tiny_federation.workspace, study)["cohort"], study.task)
    training, calibration = training_part(cohort), calibration_part(cohort)
    assert not set(training.patient_ids) & set(calibration.patient_ids)
    assert len(training) + len(calibration) == len(cohort)
    assert 0 < len(set(calibration.patient_ids)) < len(set(training.patient_ids))


def test_a_patients_part_is_its_own(tiny_federation) -> None:
    """Whether a cohort patient is held out does not depend on the others; all images of one stay together."""
    study = tiny_federation.study
    cohort = load_public(public_sets(tiny_federation.workspace, study)["cohort"], study.task)
    half = cohort.only(np.arange(0, len(cohort), 2))
    assert set(calibration_part(half).patient_ids) == set(calibration_part(cohort).patient_ids) & set(
        half.patient_ids
    )


@pytest.mark.parametrize(
    ("first", "second"), [("cohort", "test"), ("reference", "test"), ("cohort", "reference")]
)
def test_overlapping_public_sets_are_refused(
    tiny_federation, workspace: Path, first: str, second: str
) -> None:
    """A patient in two public sets is refused, counted and not named."""
    study = tiny_federation.study
    sets = public_sets(workspace, study)
    shared = sets[first][0]
    write_manifest([*sets[second], shared], workspace / "public" / f"{second}.csv", study.task)
    with pytest.raises(DataError, match="1 patients stand in more than one") as refused:
        public_sets(workspace, study)
    assert shared.patient_id not in str(refused.value)


def test_an_empty_public_set_is_refused(tiny_federation, workspace: Path) -> None:
    """A public set without a patient is refused by name."""
    write_manifest([], workspace / "public" / "reference.csv", tiny_federation.study.task)
    with pytest.raises(DataError, match=r"reference\.csv holds no image"):
        public_sets(workspace, tiny_federation.study)


def test_digests_name_the_public_sets(tiny_federation, workspace: Path) -> None:
    """The study names its public sets by content: the same elsewhere, another when one patient is gone."""
    study = tiny_federation.study
    assert with_public_digests(study, workspace).public == study.public
    patients = public_sets(workspace, study)["test"]
    write_manifest(patients[1:], workspace / "public" / "test.csv", study.task)
    changed = with_public_digests(study, workspace).public
    assert changed.test_sha256 != study.public.test_sha256
    assert changed.cohort_sha256 == study.public.cohort_sha256


def test_the_same_seed_gives_the_same_weights(tiny_federation, workspace: Path) -> None:
    """Teacher and warm start made again have the same digests; another seed gives others. One thread."""
    torch.set_num_threads(1)
    fit = TeacherFit(epochs=1)
    unfitted = without_teacher(tiny_federation.study)
    again = with_teacher(unfitted, workspace, fit, seed=0, progress=quiet)
    assert again.models.teacher == tiny_federation.study.models.teacher
    assert with_warm_start(again, workspace, seed=0, progress=quiet).models == tiny_federation.study.models
    other = with_teacher(unfitted, workspace, fit, seed=1, progress=quiet)
    assert other.models.teacher.sha256 != again.models.teacher.sha256


def test_the_workspace_is_complete(tiny_federation) -> None:
    """study.yaml is the resolved study, and every digest it names is a file of that content."""
    study = read_study(tiny_federation.workspace / "study.yaml")
    assert study == tiny_federation.study
    for digest in (study.models.teacher.sha256, study.models.initial_sha256):
        assert file_sha256(tiny_federation.workspace / "weights" / f"{digest}.safetensors") == digest


def test_a_kept_teacher_is_not_fitted_again(tiny_federation, workspace: Path) -> None:
    """The second study with the same cohort and recipe takes the kept weights and fits nothing."""
    torch.set_num_threads(1)
    fit, steps = TeacherFit(epochs=1), []

    def count(what: str, _done: int, _total: int) -> None:
        steps.append(what)

    given = {"seed": 0, "progress": count, "teachers": workspace / "teachers"}
    study = without_teacher(tiny_federation.study)
    first = with_teacher(study, workspace, fit, **given)
    num_steps = len(steps)
    assert with_teacher(study, workspace, fit, **given) == first
    assert len(steps) == num_steps > 0
    with_teacher(study, workspace, TeacherFit(epochs=2), **given)
    assert len(steps) > num_steps


def test_published_weights_are_asked_for_in_that_stage_alone(
    tiny_federation, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pretrained teacher asks the hub although that is off; out of reach is plain, and it is off again."""
    asked = []

    def unreachable(*_args: object, **_options: object) -> None:
        asked.append(hub.is_offline_mode())
        raise OSError("no way to the hub")

    monkeypatch.setattr(hub, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr("timm.models._hub.hf_hub_download", unreachable)
    study = without_teacher(tiny_federation.study)
    with pytest.raises(ConfigError, match=r"cannot be fetched .*; connect, or give a local weights file"):
        with_teacher(study, workspace, TeacherFit(pretrained=True), seed=0, progress=quiet)
    assert asked == [False]
    assert hub.is_offline_mode()


@pytest.fixture
def teacher_file(tiny_federation, tmp_path: Path) -> Path:
    """Return the tiny federation's teacher as another program writes it: the same tensors, other bytes."""
    digest = tiny_federation.study.models.teacher.sha256
    tensors = load_weights(tiny_federation.workspace / "weights" / f"{digest}.safetensors", digest)
    save_weights(tensors, tmp_path / "teacher.safetensors", {"format": "pt"})
    return tmp_path / "teacher.safetensors"


def test_an_own_teacher_file(tiny_federation, workspace: Path, teacher_file: Path) -> None:
    """A teacher file given by a person is taken byte for byte and named by its own digest."""
    study = with_teacher(
        without_teacher(tiny_federation.study),
        workspace,
        TeacherFit(),
        seed=0,
        progress=quiet,
        teacher_file=teacher_file,
    )
    assert study.models.teacher.sha256 == file_sha256(teacher_file)
    assert not load_teacher(workspace, study).training


def test_a_named_teacher_is_never_fitted(tiny_federation, workspace: Path) -> None:
    """A study that names a teacher that is not here is refused: no other is fitted in its place."""
    digest = tiny_federation.study.models.teacher.sha256
    for teachers in (None, workspace / "teachers"):
        with pytest.raises(ConfigError, match=rf"sha256 is '{digest}', allowed .* --teacher-file") as refused:
            with_teacher(
                tiny_federation.study, workspace, TeacherFit(), seed=0, progress=quiet, teachers=teachers
            )
        assert "\n" not in str(refused.value)
    assert not list((workspace / "weights").iterdir())


def test_a_named_teacher_that_is_kept(tiny_federation, workspace: Path) -> None:
    """A study that names a kept teacher takes that one, under whatever name it is kept."""
    digest = tiny_federation.study.models.teacher.sha256
    tensors = load_weights(tiny_federation.workspace / "weights" / f"{digest}.safetensors", digest)
    save_weights({"another": torch.zeros(1)}, workspace / "teachers" / "a.safetensors")
    save_weights(tensors, workspace / "teachers" / "b.safetensors")
    study = with_teacher(
        tiny_federation.study,
        workspace,
        TeacherFit(),
        seed=5,
        progress=quiet,
        teachers=workspace / "teachers",
    )
    assert study == tiny_federation.study
    assert not load_teacher(workspace, study).training


def test_another_teacher_than_the_named_one_is_refused(
    tiny_federation, workspace: Path, teacher_file: Path
) -> None:
    """A file with another digest than the study's is refused, with the field and the file's name."""
    with pytest.raises(
        ConfigError, match=r"^models\.teacher\.sha256 is .* which teacher\.safetensors is not"
    ):
        with_teacher(
            tiny_federation.study,
            workspace,
            TeacherFit(),
            seed=0,
            progress=quiet,
            teacher_file=teacher_file,
        )


def test_a_frozen_student_begins_with_its_published_weights(tiny_federation, workspace: Path) -> None:
    """The warm start of a frozen student begins with the named file, folded; without that file it is refused."""
    task, models = tiny_federation.study.task, tiny_federation.study.models
    published = batch_norm_network(models.student, len(task.classes))
    torch.save({"state_dict": published.state_dict()}, workspace / "init")
    changed = {"normalisation": "frozen", "weights_sha256": file_sha256(workspace / "init")}
    study = tiny_federation.changed(
        models={"student": models.student.model_dump() | changed}, warm_start={"epochs": 0}
    )
    (workspace / "weights").symlink_to(tiny_federation.workspace / "weights")
    with pytest.raises(ConfigError, match=r"^models\.student\.weights_sha256 is .* --student-file"):
        with_warm_start(study, workspace, seed=0, progress=quiet)
    with pytest.raises(ConfigError, match=r"^models\.student\.weights_sha256 is None"):
        with_warm_start(
            tiny_federation.study, workspace, seed=0, progress=quiet, student_file=workspace / "init"
        )
    started = with_warm_start(study, workspace, seed=0, progress=quiet, student_file=workspace / "init")
    digest = str(started.models.initial_sha256)
    compact, _ = unpack_initial(started, load_weights(find_weights(workspace / "weights", digest), digest))
    folded = fold_batch_norm(published.state_dict())
    assert {
        name: torch.equal(folded[name], value) for name, value in compact.student.state_dict().items()
    } == (dict.fromkeys(folded, True))
