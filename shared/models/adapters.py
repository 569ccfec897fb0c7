"""Adapters g_i: what the student's features say about the teacher's, as the mean of a Gaussian.

In: the student's matched feature maps. Out: predictions of the teacher's pooled maps, with one variance a
channel (VID, arXiv 1904.05835; MED-TEX, arXiv 2008.02593). Trained on the public cohort only, then frozen:
a variance learnt at a site would couple its patients.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

MIN_SIGMA2, MAX_SIGMA2 = 1e-4, 1e3


class Adapters(nn.Module):
    """One adapter a matched layer: two 1x1 convolutions without bias or non-linearity, and log-variances."""

    def __init__(
        self,
        student_channels: Sequence[int],
        teacher_channels: Sequence[int],
        teacher_sizes: Sequence[tuple[int, int]],
    ) -> None:
        super().__init__()
        self.teacher_sizes = tuple(teacher_sizes)
        pairs = list(zip(student_channels, teacher_channels, strict=True))
        self.means = nn.ModuleList(
            nn.Sequential(nn.Conv2d(s, t, 1, bias=False), nn.Conv2d(t, t, 1, bias=False)) for s, t in pairs
        )
        self.log_variances = nn.ParameterList(nn.Parameter(torch.zeros(t)) for _, t in pairs)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the predicted teacher maps, (N, C_teacher, h, w) at the teacher's pooled size."""
        triples = zip(self.means, features, self.teacher_sizes, strict=True)
        return tuple(mean(functional.adaptive_avg_pool2d(f, size)) for mean, f, size in triples)

    def sigma2(self) -> tuple[Tensor, ...]:
        """Return the variance of each teacher channel, (C_teacher,) a layer, within [1e-4, 1e3]."""
        return tuple(value.exp().clamp(MIN_SIGMA2, MAX_SIGMA2) for value in self.log_variances)

    @torch.no_grad()
    def start_from(self, features: Sequence[Tensor], teacher_features: Sequence[Tensor]) -> None:
        """Set each variance to the mean squared error on one public batch, its best value for these means."""
        for log_variance, mean, target in zip(
            self.log_variances, self(features), teacher_features, strict=True
        ):
            error = (mean - target).square().mean((0, 2, 3))
            log_variance.copy_(error.clamp(MIN_SIGMA2, MAX_SIGMA2).log())

    def freeze(self) -> None:
        """Stop training means and variances, for good: after the warm start they are study constants."""
        self.requires_grad_(False)
