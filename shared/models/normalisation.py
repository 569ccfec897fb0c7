"""Normalisation that couples no patients: group statistics of one image, or a frozen affine map.

In: a network built with BatchNorm2d, or the state dict of one. Out: the same network with every BatchNorm2d
replaced in place. Nothing here reads patient data.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

MAX_GROUPS = 16
OLD_BLOCK_KEY = ".mobile_inverted_conv."  # what ofa's published files call a block's `conv`


class FrozenAffine(nn.Module):
    """y = weight * x + bias per channel: a folded BatchNorm, with no statistics and no buffers.

    `weight` and `bias` have shape (C,); x is (N, C, H, W).
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.num_channels = num_channels
        self.weight = nn.Parameter(torch.ones(num_channels))
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Scale and shift each channel of x (N, C, H, W)."""
        return torch.addcmul(self.bias[:, None, None], x, self.weight[:, None, None])

    def extra_repr(self) -> str:
        """Show the number of channels."""
        return str(self.num_channels)


def num_groups(num_channels: int) -> int:
    """Return the largest group count of at most 16 that divides the channels."""
    return max(g for g in range(1, MAX_GROUPS + 1) if num_channels % g == 0)


def group_norm(num_channels: int, eps: float = 1e-5) -> nn.GroupNorm:
    """Return the GroupNorm that this project uses for a number of channels."""
    return nn.GroupNorm(num_groups(num_channels), num_channels, eps=eps)


def replace_batch_norm(network: nn.Module, kind: str) -> None:
    """Replace every BatchNorm2d of a network in place: `group` by GroupNorm, `frozen` by FrozenAffine."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                channels = child.num_features
                new = group_norm(channels, child.eps) if kind == "group" else FrozenAffine(channels)
                setattr(parent, name, new)


def fold_batch_norm(state: Mapping[str, Tensor], eps: float = 1e-5) -> dict[str, Tensor]:
    """Fold each BatchNorm of a state dict into weight and bias, for a network with FrozenAffine.

    weight' = weight / sqrt(var + eps), bias' = bias - mean * weight'. The old key `mobile_inverted_conv` of
    ofa's published files is renamed to `conv`; statistics are dropped.
    """
    renamed = {key.replace(OLD_BLOCK_KEY, ".conv."): value for key, value in state.items()}
    folded = dict(renamed)
    for key, mean in renamed.items():
        if not key.endswith(".running_mean"):
            continue
        prefix = key.removesuffix("running_mean")
        scale = renamed[prefix + "weight"].double() / (renamed[prefix + "running_var"].double() + eps).sqrt()
        shift = renamed[prefix + "bias"].double() - mean.double() * scale
        dtype = renamed[prefix + "weight"].dtype
        folded[prefix + "weight"], folded[prefix + "bias"] = scale.to(dtype), shift.to(dtype)
        for statistic in ("running_mean", "running_var", "num_batches_tracked"):
            folded.pop(prefix + statistic, None)
    return folded
