"""The compact model: explainer, student and readout together, the thing that is counted, exported and audited.

In: a normalised image x. Out: x -> S(m * x + (1 - m) * b) with m = E(x) and b the study's fill; a readout adds what a
linear layer says of one of S's maps (`shared/models/readout.py`). Masks and
features are a patient's and stay at the site; weights leave only through the door.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.transforms.functional import gaussian_blur

from shared.config.study import StudyConfig
from shared.models.explainer import Explainer
from shared.models.readout import Readout
from shared.models.student import FEATURE_STAGES, Student, build_student
from shared.models.torch_random import torch_seeded

Fill = Literal["zero", "blur"]
BLUR_SIDES = 16  # standard deviation of the blur = image side / 16
METHODS_WITH_MASK = ("medtex", "rounds")


@dataclass(frozen=True)
class CompactOutput:
    """Everything of one forward pass: logits (N, C), mask (N, 1, H, W), masked input and matched features."""

    logits: Tensor
    mask: Tensor
    masked_input: Tensor
    features: tuple[Tensor, ...]


class CompactModel(nn.Module):
    """The student on the image that the explainer left visible; without an explainer the whole image."""

    def __init__(
        self,
        student: Student,
        explainer: nn.Module | None,
        fill: Fill = "zero",
        readout: Readout | None = None,
    ) -> None:
        super().__init__()
        self.student = student
        self.explainer = explainer
        self.readout = readout
        self.fill = fill

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for x (N, 3, H, W)."""
        return self.run(x).logits

    def mask(self, x: Tensor) -> Tensor:
        """Return the mask (N, 1, H, W) in (0, 1]; ones without an explainer."""
        if self.explainer is None:
            return x.new_ones(x.shape[0], 1, *x.shape[2:])
        mask: Tensor = self.explainer(x)
        return mask

    def run(self, x: Tensor) -> CompactOutput:
        """Return all parts of one forward pass."""
        mask = self.mask(x)
        masked = x if self.explainer is None else masked_input(x, mask, self.fill)
        logits, maps = self.student.forward_with_maps(masked)
        if self.readout is not None:
            logits = logits + self.readout(self.readout.pooled(maps[self.readout.stage]))
        return CompactOutput(logits, mask, masked, tuple(maps[stage] for stage in FEATURE_STAGES))

    def readout_inputs(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (N, C) before the readout adds its own, and what it reads, (N, D): both frozen with it."""
        if self.readout is None:
            raise ValueError("this compact model has no readout; name models.readout in the study")
        masked = x if self.explainer is None else masked_input(x, self.mask(x), self.fill)
        logits, maps = self.student.forward_with_maps(masked)
        return logits, self.readout.pooled(maps[self.readout.stage])


def masked_input(x: Tensor, mask: Tensor, fill: Fill) -> Tensor:
    """Return m * x + (1 - m) * b; x (N, 3, H, W) normalised, m (N, 1, H, W)."""
    if fill == "zero":
        return mask * x
    return torch.lerp(fill_image(x, fill), x, mask)


def fill_image(x: Tensor, fill: Fill) -> Tensor:
    """Return b for x (N, 3, H, W): zeros (the mean colour after normalisation), or each image blurred.

    The blur is Gaussian with a standard deviation of side / 16 pixels, cut at two of them, axis by axis.
    """
    if fill == "zero":
        return torch.zeros_like(x)
    sigma = min(x.shape[2:]) / BLUR_SIDES
    side = 2 * math.ceil(2 * sigma) + 1
    columns = gaussian_blur(x, [1, side], [sigma, sigma])
    blurred: Tensor = gaussian_blur(columns, [side, 1], [sigma, sigma])
    return blurred


def build_compact(study: StudyConfig, *, seed: int = 0) -> CompactModel:
    """Build explainer, student and readout of a study; methods that mask nothing have no explainer."""
    num_classes = len(study.task.classes)
    student = build_student(study.models.student, num_classes, seed=seed)
    explainer = None
    if study.distillation.method in METHODS_WITH_MASK:
        choice = study.models.explainer
        with torch_seeded(seed + 1):
            explainer = Explainer(choice.width, choice.stride)
    asked = study.models.readout
    readout = None if asked is None else Readout(asked.stage, asked.grid, num_classes)
    return CompactModel(student, explainer, study.distillation.fill, readout)
