"""Public training: seeded, complete, and the teacher it learns from stays as it was."""

import copy

import numpy as np
import pytest
import torch

from server.public_data.images import PublicImages, load_public, predict_logits, softmax
from server.public_data.preparation import load_teacher, public_sets, training_part
from server.public_data.training import fit_teacher, mask_terms_at, warm_start
from shared.distillation.objective import METHODS
from shared.distillation.targets import PatientViews, compute_targets
from shared.models.teacher import Teacher, build_teacher


def quiet(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""


@pytest.fixture(scope="module")
def cohort(tiny_federation) -> PublicImages:
    """Load the part of the cohort that is trained on."""
    torch.set_num_threads(1)
    study = tiny_federation.study
    return training_part(load_public(public_sets(tiny_federation.workspace, study)["cohort"], study.task))


@pytest.fixture
def teacher(tiny_federation) -> Teacher:
    """Load the fitted teacher."""
    return load_teacher(tiny_federation.workspace, tiny_federation.study)


@pytest.mark.parametrize("every", [1, 4])
def test_the_warm_start_leaves_the_teacher_alone(
    tiny_federation, cohort, teacher: Teacher, every: int
) -> None:
    """No parameter or statistic of the teacher moves by a bit, also with the teacher in the loop each batch."""
    before = copy.deepcopy(teacher.state_dict())
    study = tiny_federation.changed(warm_start={"teacher_in_loop_every": every})
    warm_start(study, teacher, cohort, seed=0, progress=quiet)
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert all(parameter.grad is None for parameter in teacher.parameters())


def test_adapters_are_trained_and_then_frozen(tiny_federation, cohort, teacher: Teacher) -> None:
    """The warm start moves student, explainer and adapters; afterwards no adapter or variance trains."""
    none = tiny_federation.changed(warm_start={"epochs": 0})
    begun = warm_start(none, teacher, cohort, seed=0, progress=quiet)
    done = warm_start(tiny_federation.study, teacher, cohort, seed=0, progress=quiet)
    start, end = begun.state(), done.state()
    for part in (
        "compact.student.classifier",
        "compact.explainer.head",
        "adapters.means",
        "adapters.log_variances",
    ):
        names = [name for name in start if name.startswith(part)]
        assert names
        assert all(not torch.equal(start[name], end[name]) for name in names)
    assert not any(parameter.requires_grad for parameter in done.adapters.parameters())


def test_the_seed_decides(tiny_federation, cohort, teacher: Teacher) -> None:
    """The same seed gives the same bits whatever ran before; another seed gives another student."""
    first = warm_start(tiny_federation.study, teacher, cohort, seed=3, progress=quiet).state()
    torch.rand(7)
    again = warm_start(tiny_federation.study, teacher, cohort, seed=3, progress=quiet).state()
    other = warm_start(tiny_federation.study, teacher, cohort, seed=4, progress=quiet).state()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_progress_ends_at_the_total(tiny_federation, cohort, teacher: Teacher) -> None:
    """Progress counts every batch up to the announced total."""
    told = []
    warm_start(tiny_federation.study, teacher, cohort, seed=0, progress=lambda *one: told.append(one))
    assert told == [("warm start", step + 1, len(cohort) // 8) for step in range(len(cohort) // 8)]


def test_a_teacher_learns_and_ends_in_eval_mode() -> None:
    """A few epochs on two brightnesses are enough to tell them apart; the network is left in eval mode."""
    shape = (64, 32, 32, 3)
    labels = np.arange(64) % 2
    noise = np.random.default_rng(0).integers(0, 40, shape)
    images = PublicImages(
        (noise + labels.reshape(-1, 1, 1, 1) * 150).astype(np.uint8),
        labels.astype(np.int64),
        np.arange(64),
        tuple(map(str, range(64))),
        ("made",) * 64,
    )
    network = build_teacher("resnet10t", 2, 32).network.requires_grad_(True)
    fit_teacher(network, images, epochs=6, learning_rate=2e-3, seed=0, flip=False, progress=quiet)
    assert not network.training
    logits = predict_logits(network, images)
    assert (logits.argmax(axis=1) == labels).mean() > 0.9


def test_site_targets_are_those_of_the_public_teacher(tiny_federation, cohort, teacher: Teacher) -> None:
    """The hub's predictions and a site's targets of the same image come from one and the same teacher."""
    views = PatientViews(cohort.pixels[:2], cohort.labels[:2])
    targets = compute_targets(teacher, views, tiny_federation.study)
    np.testing.assert_allclose(predict_logits(teacher, cohort)[:2], targets.logits, rtol=1e-4, atol=1e-5)


def test_softmax_at_a_temperature() -> None:
    """Probabilities sum to 1, do not overflow, and a high temperature flattens them."""
    logits = np.array([[1000.0, 1001.0], [0.0, np.log(3.0)]])
    np.testing.assert_allclose(softmax(logits)[1], [0.25, 0.75])
    np.testing.assert_allclose(softmax(logits).sum(axis=1), 1)
    np.testing.assert_allclose(softmax(logits, 1e6)[0], 0.5, atol=1e-6)


def test_a_cohort_smaller_than_a_batch_is_still_learnt_from(
    tiny_federation, cohort, teacher: Teacher
) -> None:
    """Fewer images than batch_size make one smaller batch an epoch, not a model that was never trained."""
    study = tiny_federation.changed(warm_start={"batch_size": 1024, "epochs": 2})
    told = []
    warm_start(study, teacher, cohort, seed=0, progress=lambda *one: told.append(one))
    assert told == [("warm start", 1, 2), ("warm start", 2, 2)]


def test_the_mask_closes_after_the_student_has_learnt() -> None:
    """The mask's terms grow from nothing to their weights in the middle of the warm start; no other term moves."""
    whole = METHODS["rounds"]
    begun, half = mask_terms_at(whole, 0.0), mask_terms_at(whole, 0.6)
    assert begun.area == begun.total_variation == begun.teacher_on_masked == begun.teacher_on_complement == 0
    assert (half.area, half.teacher_on_masked) == pytest.approx((whole.area / 2, whole.teacher_on_masked / 2))
    assert (begun.alpha, begun.temperature, begun.feature) == (whole.alpha, whole.temperature, whole.feature)
    assert mask_terms_at(whole, 0.9) == whole
