"""The readout's public part: how the cohort's features are spread, and the cohort's own fit, where round 1 begins.

In: a warm-started compact model, teacher and cohort, all public. Out: the model with its readout filled in. A site's
patients only move the fit away from here, so a student that they cannot better stays the cohort's.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from server.public_data.images import Progress, PublicImages, tensors
from shared.config.study import StudyConfig
from shared.data.views import view
from shared.distillation.objective import Terms, logit_losses, site_terms
from shared.models.compact import CompactModel
from shared.models.readout import NORM, NUM_DIRECTIONS, Readout
from shared.models.teacher import Teacher

FEWEST_VIEWS = 4  # of each public image: statistics of its features are of moved films as well
# directions with more than this many times the mean variance are shrunk; 0.3 to 30 learn alike
FLATNESS = 3.0
# on the sum of the images' losses; the last moves next to nothing
RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_FEWEST_UNSEEN = 20  # images that can choose one; fewer, and the middle serves
_AT_ONCE = 32
_ITERATIONS = 200


@dataclass(frozen=True)
class _Views:
    """N images of K views each: pooled maps (N K, D), logits of student and teacher (N K, C), labels (N K,)."""

    pooled: Tensor
    frozen_logits: Tensor
    teacher_logits: Tensor
    labels: Tensor
    num_views: int


def fit_readout(
    study: StudyConfig,
    compact: CompactModel,
    teacher: Teacher,
    cohort: PublicImages,
    unseen: PublicImages | None,
    progress: Progress,
) -> None:
    """Fill the readout in place: statistics and fit of `cohort`, and the curvature of `unseen` public images.

    The ridge is the one under which `unseen` images lose least. Of images that it has learnt by heart a model is surer
    than of any other patients', and would take the gradient to change too slowly. Without unseen images the cohort
    serves, with a ridge in the middle.
    """
    readout = compact.readout
    if readout is None:
        return
    terms = site_terms(study.distillation)
    known = _views(study, compact, teacher, cohort, progress)
    _standardise(readout, known.pooled)
    other = _views(study, compact, teacher, unseen, progress) if unseen is not None and len(unseen) else known
    if unseen is None or len(unseen) < _FEWEST_UNSEEN:
        _fit(readout, known, terms, RIDGES[len(RIDGES) // 2])
    else:
        best = min(RIDGES, key=lambda ridge: _loss_elsewhere(readout, known, other, terms, ridge))
        _fit(readout, known, terms, best)
    clip = study.privacy.max_grad_norm
    readout.curvature.copy_(_curvature(readout, known, other, terms, clip))
    readout.clip.fill_(clip)


def _views(
    study: StudyConfig, compact: CompactModel, teacher: Teacher, images: PublicImages, progress: Progress
) -> _Views:
    num_views = max(FEWEST_VIEWS, study.distillation.num_views)
    flip = not study.task.laterality_matters
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for start in range(0, len(images), _AT_ONCE):
        rows = range(start, min(start + _AT_ONCE, len(images)))
        pixels = [
            view(images.pixels[row], images.patient_ids[row], k, flip=flip)
            for row in rows
            for k in range(num_views)
        ]
        batch = tensors(np.stack(pixels))
        with torch.inference_mode():
            frozen_logits, pooled = compact.readout_inputs(batch)
            parts.append((pooled.double(), frozen_logits.double(), teacher(batch).double()))
        progress("readout", rows[-1] + 1, len(images))
    pooled, frozen, taught = (torch.cat(one).clone() for one in zip(*parts, strict=True))
    labels = torch.from_numpy(images.labels).repeat_interleave(num_views)
    return _Views(pooled, frozen, taught, labels, num_views)


def _standardise(readout: Readout, pooled: Tensor) -> None:
    """Set mean, scale, directions and shrink: (x - mean) / (sd + 0.1 median sd), then (Sigma / l0 + 1)^(-1/2).

    l0 is `FLATNESS` times the mean variance. A matrix of covariances would be 9 MB; of its directions the first 64 are
    kept, for the others are shrunk by little.
    """
    mean, spread = pooled.mean(0), pooled.std(0, correction=0)
    spread = spread + 0.1 * spread.median() + 1e-4
    plain = (pooled - mean) / spread
    _, singular, rows = torch.linalg.svd(plain, full_matrices=False)
    variances = singular.square() / len(plain)
    kept = min(NUM_DIRECTIONS, len(variances))
    level = FLATNESS * variances.sum() / pooled.shape[1]
    readout.mean.copy_(mean)
    readout.scale.copy_(1 / spread)
    readout.directions.zero_()[:kept] = rows[:kept]
    readout.shrink.zero_()[:kept] = (variances[:kept] / level + 1).rsqrt() - 1
    norm = readout.whitened(pooled.float()).square().sum(1).mean().sqrt()
    readout.scale.mul_(NORM / norm)


def _loss_elsewhere(readout: Readout, known: _Views, other: _Views, terms: Terms, ridge: float) -> float:
    """Return the mean loss on other images of the fit with this ridge."""
    _fit(readout, known, terms, ridge)
    with torch.no_grad():
        logits = other.frozen_logits + readout(other.pooled.float()).double()
        return float(logit_losses(logits, other.labels, other.teacher_logits, terms).mean())


def _fit(readout: Readout, views: _Views, terms: Terms, ridge: float) -> None:
    """Set the linear layer to the least of the cohort's loss plus a ridge (L-BFGS, in float64)."""
    features = readout.whitened(views.pooled.float()).double()
    weight = torch.zeros_like(readout.linear.weight, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros_like(readout.linear.bias, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        search.zero_grad()
        logits = views.frozen_logits + features @ weight.T + bias
        losses = logit_losses(logits, views.labels, views.teacher_logits, terms)
        penalty = ridge / 2 * (weight.square().sum() + bias.square().sum())
        total = losses.sum() / views.num_views + penalty
        torch.autograd.backward(total)
        return total

    with torch.enable_grad():
        search.step(closure)  # type: ignore[no-untyped-call]  # torch gives it no types
    with torch.no_grad():
        readout.linear.weight.copy_(weight)
        readout.linear.bias.copy_(bias)


@torch.no_grad()
def _curvature(readout: Readout, known: _Views, other: _Views, terms: Terms, clip: float) -> Tensor:
    """Return how fast the mean clipped gradient changes along each direction, any other one, and the bias.

    For softmax it is the mean of c p (1 - p) (v z)^2 with c = min(1, clip / |g|), taken as the product of the means: of
    c p (1 - p) over `other` images, of (v z)^2 over the `known`.
    """
    features = readout.whitened(other.pooled.float()).double()
    logits = other.frozen_logits + readout.linear(features.float()).double()
    p = logits.softmax(1)
    truth = torch.nn.functional.one_hot(other.labels, p.shape[1])
    errors = p - terms.alpha * truth - (1 - terms.alpha) * other.teacher_logits.softmax(1)
    each = torch.einsum(
        "nvc,nvd->ncd", *(part.unflatten(0, (-1, other.num_views)) for part in (errors, features))
    )
    norms = (each / other.num_views).square().sum((1, 2)).sqrt()
    unsure = (p * (1 - p)).mean(1).unflatten(0, (-1, other.num_views)).mean(1)
    weight = ((clip / norms.clamp_min(1e-12)).clamp_max(1) * unsure).mean()
    z = readout.whitened(known.pooled.float()).double()
    along = (z @ readout.directions.double().T).square().mean(0)
    rest = (z.square().sum(1).mean() - along.sum()) / max(1, z.shape[1] - len(along))
    moments = torch.cat([along, rest.reshape(1), torch.ones(1, dtype=torch.float64)])
    curvature: Tensor = weight * moments
    return curvature
