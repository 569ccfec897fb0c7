"""The readout's public part: spread as it says, at the least of its loss, and a curvature of the right size."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from server.public_data.images import PublicImages, load_public
from server.public_data.preparation import load_teacher, public_sets
from server.public_data.readout_fit import fit_readout
from shared.config.files import parse_study
from shared.config.study import StudyConfig
from shared.data.images import normalise
from shared.data.views import view
from shared.models.compact import CompactModel, build_compact

CLIP = 1.4


@pytest.fixture(scope="module")
def study(tiny_federation: Any) -> StudyConfig:
    """Return the miniature's study with a readout, and weights of its own for the sites."""
    raw = tiny_federation.study.model_dump(mode="json")
    raw["models"]["readout"] = {"stage": 3, "grid": 2}
    raw["distillation"]["site_weights"] = {"alpha": 0.8, "temperature": 1.0}
    raw["privacy"] |= {"trainable": "readout", "max_grad_norm": CLIP}
    return parse_study(raw)


@pytest.fixture(scope="module")
def cohort(tiny_federation: Any, study: StudyConfig) -> PublicImages:
    return load_public(public_sets(Path(tiny_federation.workspace), study)["cohort"], study.task)


@pytest.fixture(scope="module")
def fitted(tiny_federation: Any, study: StudyConfig, cohort: PublicImages) -> CompactModel:
    """Fit a compact model of random weights: its readout, on the cohort."""
    compact = build_compact(study, seed=5).eval()
    fit_readout(study, compact, load_teacher(tiny_federation.workspace, study), cohort, None, lambda *_: None)
    return compact


def four_views(cohort: PublicImages) -> torch.Tensor:
    pixels = [
        view(cohort.pixels[row], cohort.patient_ids[row], k, flip=False)
        for row in range(len(cohort))
        for k in range(4)
    ]
    return torch.stack([normalise(one) for one in pixels])


@torch.no_grad()
def seen(
    fitted: CompactModel, study: StudyConfig, cohort: PublicImages, tiny_federation: Any
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits before the readout, its features, and what it is to say (labels by 0.8, teacher by 0.2)."""
    images, labels = four_views(cohort), torch.from_numpy(cohort.labels).repeat_interleave(4)
    frozen, pooled = fitted.readout_inputs(images)
    taught = load_teacher(tiny_federation.workspace, study)(images).softmax(1)
    assert fitted.readout is not None
    return frozen, fitted.readout.whitened(pooled), 0.8 * functional.one_hot(labels, 2) + 0.2 * taught


@torch.no_grad()
def test_features_have_the_stated_spread(fitted: CompactModel, cohort: PublicImages) -> None:
    """Mean zero, norm 10, orthonormal directions, each shrunk and those of most variance the most."""
    readout = fitted.readout
    assert readout is not None
    z = readout.whitened(fitted.readout_inputs(four_views(cohort))[1])
    assert z.mean(0).abs().max() < 1e-2
    assert float(z.square().sum(1).mean().sqrt()) == pytest.approx(10.0, rel=1e-3)
    kept = readout.directions[readout.directions.norm(dim=1) > 0]
    torch.testing.assert_close(kept @ kept.T, torch.eye(len(kept)), atol=1e-4, rtol=0)
    used = readout.shrink[: len(kept)]
    assert ((used < 0) & (used > -1)).all()
    assert (used.diff() > -1e-6).all()


def test_the_fit_is_the_least_of_the_loss_with_its_ridge(
    fitted: CompactModel, study: StudyConfig, cohort: PublicImages, tiny_federation: Any
) -> None:
    """The gradient of what is stated to be least is nothing beside that at the start, by autograd over images."""
    readout = fitted.readout
    assert readout is not None
    frozen, features, truth = seen(fitted, study, cohort, tiny_federation)

    def slope(weight: torch.Tensor, bias: torch.Tensor) -> float:
        weight, bias = weight.detach().clone().requires_grad_(), bias.detach().clone().requires_grad_()
        logits = frozen + features @ weight.T + bias
        loss = -(truth * logits.log_softmax(1)).sum() / 4
        loss = loss + 50 * (weight.square().sum() + bias.square().sum())
        parts = torch.autograd.grad(loss, (weight, bias))
        return float(torch.cat([part.flatten() for part in parts]).norm())

    start = slope(torch.zeros_like(readout.linear.weight), torch.zeros_like(readout.linear.bias))
    assert slope(readout.linear.weight, readout.linear.bias) < 1e-3 * start


def test_the_curvature_has_the_size_of_a_measured_one(
    fitted: CompactModel, study: StudyConfig, cohort: PublicImages, tiny_federation: Any
) -> None:
    """Along the first directions, within a factor of four of how the mean clipped gradient of the cohort changes."""
    readout = fitted.readout
    assert readout is not None
    assert float(readout.clip) == pytest.approx(CLIP)
    assert (readout.curvature > 0).all()
    frozen, features, truth = seen(fitted, study, cohort, tiny_federation)

    def mean_gradient(weight: torch.Tensor) -> torch.Tensor:
        errors = (frozen + features @ weight.T + readout.linear.bias).softmax(1) - truth
        each = (
            torch.einsum("nvc,nvd->ncd", errors.view(-1, 4, 2), features.view(-1, 4, features.shape[1])) / 4
        )
        norms = each.flatten(1).norm(dim=1)
        return (each * (CLIP / norms).clamp_max(1)[:, None, None]).mean(0)

    with torch.no_grad():
        measured = []
        for row in readout.directions[:8]:
            nudge = torch.stack([row, torch.zeros_like(row)]) * 0.05
            change = mean_gradient(readout.linear.weight + nudge) - mean_gradient(
                readout.linear.weight - nudge
            )
            measured.append(float(change[0] @ row) / 0.1)
    ratio = readout.curvature[:8].mean() / torch.tensor(measured).mean()
    assert 0.25 < float(ratio) < 4, (readout.curvature[:8], measured)


def test_unseen_images_choose_the_ridge(
    tiny_federation: Any, study: StudyConfig, cohort: PublicImages
) -> None:
    """Where unseen images are labelled as the cohort is, the fit is longer than where their labels are the others."""
    teacher = load_teacher(tiny_federation.workspace, study)
    lengths = []
    for labels in (cohort.labels, 1 - cohort.labels):
        compact = build_compact(study, seed=5).eval()
        fit_readout(study, compact, teacher, cohort, replace(cohort, labels=labels), lambda *_: None)
        assert compact.readout is not None
        lengths.append(float(compact.readout.linear.weight.detach().norm()))
    assert lengths[0] > 2 * lengths[1]
