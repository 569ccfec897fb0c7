"""The explainer: a light U-Net that draws where the student may look (MED-TEX, arXiv 2008.02593).

In: a normalised image. Out: one mask in (0, 1) per image, drawn on a coarse grid (image side / stride) and
enlarged bilinearly, so that it has little room to encode the class. A mask shows patient anatomy: it stays
where the image is.
"""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.models.normalisation import num_groups

START_OPEN = 2.0  # sigmoid(2) = 0.88: the student first learns from nearly whole images


class ConvUnit(nn.Sequential):
    """3x3 convolution, GroupNorm, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, num_groups: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False),
            nn.GroupNorm(num_groups, channels_out),
            nn.ReLU(),
        )


class Explainer(nn.Module):
    """A U-Net from half the image side to a grid of side / stride, then two levels further down and back."""

    def __init__(self, width: int = 16, stride: int = 8) -> None:
        super().__init__()
        num_halvings = int(math.log2(stride)) - 1  # the input is pooled by 2 first
        grid = 2 * width
        groups = num_groups(width)  # so a 1x1 map at the bottom still has four values a group
        channels = [3, *([width] * (num_halvings > 1)), *([grid] * max(1, num_halvings - 1))]
        self.to_grid = nn.Sequential(*(ConvUnit(a, b, groups, 2) for a, b in itertools.pairwise(channels)))
        self.down1 = ConvUnit(grid, 2 * grid, groups, 2)
        self.down2 = ConvUnit(2 * grid, 2 * grid, groups, 2)
        self.up1 = ConvUnit(4 * grid, grid, groups)
        self.up0 = ConvUnit(2 * grid, grid, groups)
        self.head = nn.Conv2d(grid, 1, 1)
        nn.init.constant_(self.head.get_parameter("bias"), START_OPEN)

    def forward(self, x: Tensor) -> Tensor:
        """Return the mask (N, 1, H, W) in (0, 1) for x (N, 3, H, W)."""
        return functional.interpolate(self.coarse(x), size=x.shape[2:], mode="bilinear", align_corners=False)

    def coarse(self, x: Tensor) -> Tensor:
        """Return the mask on its own grid, (N, 1, H / stride, W / stride)."""
        at_grid = self.to_grid(functional.avg_pool2d(x, 2))
        at_half = self.down1(at_grid)
        at_quarter = self.down2(at_half)
        up = self.up1(torch.cat([_enlarged(at_quarter, at_half), at_half], dim=1))
        up = self.up0(torch.cat([_enlarged(up, at_grid), at_grid], dim=1))
        return torch.sigmoid(self.head(up))


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return functional.interpolate(x, size=like.shape[2:], mode="nearest")
