"""Targets of one patient: the frozen teacher's word on that patient's own views, and how much room they take."""

import copy

import pytest
import torch

from server.public_data.preparation import load_teacher
from shared.config.study import StudyConfig
from shared.data.patients import Patient
from shared.data.sources import read_source
from shared.distillation.objective import Targets
from shared.distillation.targets import compute_targets, forecast_bytes, pick, read_views, stack
from shared.models.teacher import Teacher


@pytest.fixture(scope="module")
def study(tiny_federation) -> StudyConfig:
    """Return the tiny study with three views a patient."""
    return tiny_federation.changed(distillation={"num_views": 3})


@pytest.fixture(scope="module")
def teacher(tiny_federation, study: StudyConfig) -> Teacher:
    """Load the fitted teacher."""
    return load_teacher(tiny_federation.workspace, study)


@pytest.fixture(scope="module")
def patients(tiny_federation, study: StudyConfig) -> list[Patient]:
    """Read one site's patients."""
    return read_source(tiny_federation.workspace / "manifests" / "film.csv", study.task)


def test_the_teacher_is_never_changed(teacher: Teacher, patients: list[Patient], study: StudyConfig) -> None:
    """Parameters and statistics are bit for bit the same after many targets, even after train() was called."""
    before = copy.deepcopy(teacher.state_dict())
    teacher.train()
    for patient in patients:
        compute_targets(teacher, read_views(patient, study), study)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_targets_are_the_teachers_words(
    teacher: Teacher, patients: list[Patient], study: StudyConfig
) -> None:
    """Logits are the teacher's own on the views, features its maps rounded to float16; nothing has a gradient."""
    views = read_views(patients[0], study)
    targets = compute_targets(teacher, views, study)
    with torch.no_grad():
        logits, features = teacher.features(views.images((0, 1, 2)))
    torch.testing.assert_close(targets.logits, logits)
    for found, expected in zip(targets.features, features, strict=True):
        assert found.dtype == torch.float16
        torch.testing.assert_close(found.float(), expected, rtol=1e-3, atol=1e-3)
    assert not any(part.requires_grad for part in (targets.logits, *targets.features))


@pytest.mark.parametrize(("method", "num_layers"), [("kd", 0), ("hybrid", 0), ("medtex", 2), ("rounds", 2)])
def test_features_only_where_used(
    tiny_federation, teacher: Teacher, patients: list[Patient], method: str, num_layers: int
) -> None:
    """Only methods with a feature term keep the teacher's features."""
    study = tiny_federation.changed(distillation={"method": method})
    assert len(compute_targets(teacher, read_views(patients[0], study), study).features) == num_layers


def test_a_patients_targets_do_not_depend_on_others(
    teacher: Teacher, patients: list[Patient], study: StudyConfig
) -> None:
    """Targets are the same bits whether a patient is computed first, last or alone."""
    alone = compute_targets(teacher, read_views(patients[-1], study), study)
    for patient in patients[:-1]:
        compute_targets(teacher, read_views(patient, study), study)
    again = compute_targets(teacher, read_views(patients[-1], study), study)
    assert torch.equal(alone.logits, again.logits)
    assert all(map(torch.equal, alone.features, again.features))


def test_pick_and_stack() -> None:
    """Picking takes views in the order asked for, features as float32; stack joins patients in order."""
    first = Targets(torch.arange(6.0).view(3, 2), (torch.arange(3, dtype=torch.float16).view(3, 1, 1, 1),))
    second = Targets(first.logits + 10, (first.features[0] + 10,))
    joined = stack([pick(first, (2, 0)), pick(second, (1,))])
    assert joined.logits.tolist() == [[4, 5], [0, 1], [12, 13]]
    assert joined.features[0].flatten().tolist() == [2, 0, 11]
    assert joined.features[0].dtype == torch.float32


def test_the_forecast_is_what_targets_take(
    teacher: Teacher, patients: list[Patient], study: StudyConfig
) -> None:
    """The forecast equals the bytes of real targets, patient by patient."""
    targets = [compute_targets(teacher, read_views(patient, study), study) for patient in patients]
    taken = sum(part.nbytes for one in targets for part in (one.logits, *one.features))
    assert forecast_bytes(teacher, study, len(patients)) == taken
