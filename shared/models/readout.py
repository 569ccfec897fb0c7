"""The readout: a linear layer on one frozen map of the student, the set that few patients can train under privacy.

In: a stage's map (N, channels, h, w), pooled to a grid. Out: logits (N, C) that are added to the student's. What is
read is standardised and whitened by statistics of the PUBLIC cohort, which travel as buffers with the initial weights;
only the linear layer learns at the sites. Measured on PneumoniaMNIST: a site of 1,000 trains 3,074 numbers well at
epsilon 8, and 55,000 scales not at all, for noise equals what patients differ by at about n (s / nu)^2 numbers (n
patients, nu the noise of one full pass, s about 0.35).
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGE_CHANNELS: Final = {3: 96, 4: 136}  # of w1.2 networks; both have stride 16
NUM_DIRECTIONS = 64  # of the cohort's largest variance: those that whitening shrinks by more than a little
NORM = 10.0  # root mean square, over the cohort, of what the linear layer is given


class Readout(nn.Module):
    """x -> W z + b with z = g (P + sum_k s_k v_k v_k') (x - mean) / sd; the whitened features z are (N, D).

    Buffers: `mean` (D,), `scale` (D,) = g / sd, `directions` (K, D) orthonormal rows v_k, `shrink` (K,) = s_k, at most
    0, and `curvature` (K + 2,): how fast the cohort's mean clipped gradient changes along each v_k, along any other
    direction, and with the bias, when the clip is `clip`. W and b start at zero.
    """

    mean: Tensor
    scale: Tensor
    directions: Tensor
    shrink: Tensor
    curvature: Tensor
    clip: Tensor

    def __init__(self, stage: int, grid: int, num_classes: int) -> None:
        super().__init__()
        self.stage, self.grid = stage, grid
        width = STAGE_CHANNELS[stage] * grid**2
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))
        self.register_buffer("directions", torch.zeros(NUM_DIRECTIONS, width))
        self.register_buffer("shrink", torch.zeros(NUM_DIRECTIONS))
        self.register_buffer("curvature", torch.zeros(NUM_DIRECTIONS + 2))
        self.register_buffer("clip", torch.zeros(()))
        self.linear = nn.Linear(width, num_classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits (N, C) for pooled maps (N, D)."""
        logits: Tensor = self.linear(self.whitened(pooled))
        return logits

    def pooled(self, stage_map: Tensor) -> Tensor:
        """Return a stage's map as the readout reads it: averaged over the cells of the grid, (N, D)."""
        return functional.adaptive_avg_pool2d(stage_map, self.grid).flatten(1)

    def whitened(self, pooled: Tensor) -> Tensor:
        """Return the features z (N, D) of pooled maps (N, D)."""
        z = (pooled - self.mean) * self.scale
        return z + ((z @ self.directions.T) * self.shrink) @ self.directions

    @torch.no_grad()
    def class_map(self, stage_map: Tensor, class_index: int) -> Tensor:
        """Return what each place of a stage's map adds to a class's logit, (N, h, w): exact, for the layer is linear.

        The sum over places, with `class_constant`, is what the readout adds (class activation map, arXiv 1512.04150).
        """
        weights = self._on_pooled()[class_index].view(1, -1, self.grid, self.grid)
        height, width = stage_map.shape[2:]
        if height % self.grid or width % self.grid:
            raise ValueError(
                f"a map of {height} x {width} does not divide into {self.grid} x {self.grid} cells; choose another grid"
            )
        cells = (height // self.grid) * (width // self.grid)
        spread = functional.interpolate(weights, (height, width), mode="nearest") / cells
        return (stage_map * spread).sum(1)

    @torch.no_grad()
    def class_constant(self, class_index: int) -> float:
        """Return the part of a class's logit that no place of the map has."""
        return float(self.linear.bias[class_index] - self._on_pooled()[class_index] @ self.mean)

    def _on_pooled(self) -> Tensor:
        """Return the linear layer's weights as they act on pooled maps, (C, D)."""
        weight = self.linear.weight
        return (weight + ((weight @ self.directions.T) * self.shrink) @ self.directions) * self.scale
