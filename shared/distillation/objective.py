"""The distillation objective: what a student and its explainer lose on each single view.

In come the compact model's output, labels and teacher targets; out comes one loss a view. Nothing here
is computed from more than one view, so a patient's gradient depends on that patient alone.

L = alpha CE(S(x'), y) + (1 - alpha) t^2 KL(T_t(x) || S_t(x'))              (arXiv 2508.15251)
  + f mean_i NLL_Gauss(T_i(x) | g_i(S_i(x')), sigma_i)                      (MED-TEX, arXiv 2008.02593)
  + a hinge(mean m - area) + v TV(m) + d KL(T(x) || T(x')) + c KL(uniform || T((1 - m) x + m b))
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from shared.config.study import Distillation, Method, Weights


@dataclass(frozen=True)
class Terms:
    """Weights on the terms; `explainer` False means the mask is 1 everywhere."""

    explainer: bool
    alpha: float
    temperature: float
    feature: float = 0.0
    area: float = 0.0
    total_variation: float = 0.0
    teacher_on_masked: float = 0.0
    teacher_on_complement: float = 0.0
    mask_area: float = 0.5

    @property
    def uses_features(self) -> bool:
        """Whether targets must hold the teacher's features."""
        return self.feature > 0

    @property
    def uses_teacher_in_loop(self) -> bool:
        """Whether the terms that run the teacher on masked images have a weight."""
        return self.explainer and (self.teacher_on_masked > 0 or self.teacher_on_complement > 0)


METHODS: dict[Method, Terms] = {
    "supervised": Terms(explainer=False, alpha=1.0, temperature=1.0),
    "kd": Terms(explainer=False, alpha=0.0, temperature=4.0),
    "hybrid": Terms(explainer=False, alpha=0.5, temperature=4.0),
    "medtex": Terms(explainer=True, alpha=0.0, temperature=1.0, feature=0.01),
    "rounds": Terms(
        explainer=True,
        alpha=0.5,
        temperature=4.0,
        feature=0.01,
        area=4.0,
        total_variation=0.05,
        teacher_on_masked=0.5,
        teacher_on_complement=0.1,
    ),
}


@dataclass(frozen=True)
class Targets:
    """What the frozen teacher says of N views: logits (N, C) and features, each (N, C_i, h_i, w_i)."""

    logits: Tensor
    features: tuple[Tensor, ...] = ()


class Output(Protocol):
    """What the compact model gives for N views (shared.models.compact.CompactOutput)."""

    @property
    def logits(self) -> Tensor:
        """Student's logits, (N, C)."""

    @property
    def mask(self) -> Tensor:
        """Explainer's mask, (N, 1, H, W)."""

    @property
    def masked_input(self) -> Tensor:
        """What the student saw, (N, 3, H, W)."""

    @property
    def features(self) -> tuple[Tensor, ...]:
        """Student's matched feature maps."""


class FeatureModel(Protocol):
    """The frozen adapters: means of the teacher's features given the student's, and their variances."""

    def __call__(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the means of the teacher's maps."""

    def sigma2(self) -> tuple[Tensor, ...]:
        """Return one variance a teacher channel, for each matched layer."""


def method_terms(distillation: Distillation) -> Terms:
    """Return the method's weights with the study's own values put over them."""
    return _with(METHODS[distillation.method], distillation.weights, distillation.mask_area)


def _with(terms: Terms, weights: Weights, mask_area: float) -> Terms:
    given: dict[str, Any] = weights.model_dump(exclude_none=True)
    return Terms(**{**terms.__dict__, **given, "mask_area": mask_area})


def site_terms(distillation: Distillation) -> Terms:
    """Return the weights that act at the sites: the study's `site_weights` over its others, without terms on the mask.

    A term on the mask alone pulls every patient's clipped gradient the same way and so crowds out what the
    patients teach (measured: on phantoms the mask shrank from 0.49 to 0.23 of the image in 48 private steps; on
    the X-ray pack, where the warm start had not reached the area, the test AUC fell by 0.09).
    """
    terms = _with(method_terms(distillation), distillation.site_weights, distillation.mask_area)
    return replace(terms, area=0.0, total_variation=0.0)


def view_losses(
    output: Output, labels: Tensor, targets: Targets, adapters: FeatureModel | None, terms: Terms
) -> Tensor:
    """Return the objective of each view, shape (N,), without the terms that run the teacher again."""
    losses = logit_losses(output.logits, labels, targets.logits, terms)
    if terms.uses_features and adapters is not None:
        nll = gaussian_nll(adapters(output.features), targets.features, adapters.sigma2())
        losses = losses + terms.feature * nll
    if terms.explainer and terms.area > 0:
        losses = losses + terms.area * F.relu(output.mask.mean(dim=(1, 2, 3)) - terms.mask_area)
    if terms.explainer and terms.total_variation > 0:
        losses = losses + terms.total_variation * total_variation(output.mask)
    return losses


def logit_losses(logits: Tensor, labels: Tensor, teacher_logits: Tensor, terms: Terms) -> Tensor:
    """Return what a label and the teacher's logits say of each view's logits (N, C), (N,)."""
    losses = terms.alpha * F.cross_entropy(logits, labels, reduction="none")
    if terms.alpha < 1:
        losses = losses + (1 - terms.alpha) * softened_kl(teacher_logits, logits, terms.temperature)
    return losses


def teacher_in_loop_losses(
    teacher: nn.Module, output: Output, images: Tensor, fill: Tensor, targets: Targets, terms: Terms
) -> Tensor:
    """Return the d and c terms of each view, (N,); they cost the teacher's forward and backward pass."""
    losses = torch.zeros(len(images), dtype=images.dtype, device=images.device)
    if terms.teacher_on_masked > 0:
        masked = teacher(output.masked_input)
        losses = losses + terms.teacher_on_masked * softened_kl(targets.logits, masked, 1.0)
    if terms.teacher_on_complement > 0:
        complement = (1 - output.mask) * images + output.mask * fill
        losses = losses + terms.teacher_on_complement * kl_from_uniform(teacher(complement))
    return losses


def softened_kl(teacher_logits: Tensor, student_logits: Tensor, temperature: float) -> Tensor:
    """Return t^2 KL(T_t || S_t) of each row, (N,) (Hinton et al., arXiv 1503.02531)."""
    soft_teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    soft_student = F.log_softmax(student_logits / temperature, dim=1)
    return temperature**2 * (soft_teacher.exp() * (soft_teacher - soft_student)).sum(dim=1)


def kl_from_uniform(logits: Tensor) -> Tensor:
    """Return KL(uniform || softmax(logits)) of each row, (N,)."""
    num_classes = logits.shape[1]
    return -F.log_softmax(logits, dim=1).mean(dim=1) - float(torch.log(torch.tensor(float(num_classes))))


def gaussian_nll(
    means: tuple[Tensor, ...], features: tuple[Tensor, ...], variances: tuple[Tensor, ...]
) -> Tensor:
    """Return mean_i of 0.5 (log s2 + (t - mu)^2 / s2), each averaged over channel and position, (N,).

    VID's form of MED-TEX's mutual-information term (arXiv 1904.05835), one variance a channel.
    """
    layers = [
        0.5 * ((t - mu).square() / s2.view(1, -1, 1, 1) + s2.log().view(1, -1, 1, 1)).mean(dim=(1, 2, 3))
        for mu, t, s2 in zip(means, features, variances, strict=True)
    ]
    return torch.stack(layers).mean(dim=0)


def total_variation(mask: Tensor) -> Tensor:
    """Return the mean rise and fall along a row and along a column of each mask (N, 1, H, W), (N,).

    Scaled by the side, so that the same shape at another resolution has the same value.
    """
    across = (mask[..., 1:] - mask[..., :-1]).abs().mean(dim=(1, 2, 3)) * (mask.shape[-1] - 1)
    down = (mask[..., 1:, :] - mask[..., :-1, :]).abs().mean(dim=(1, 2, 3)) * (mask.shape[-2] - 1)
    return (across + down) / 2
