"""Does a map name the pixels that the model uses? Insertion and deletion curves (RISE, arXiv 1806.07421).

In: a classifier, one image, one map of it. Out: two areas under curves in 0..1. They describe one person's
image and stay with whoever holds it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from shared.explain.regions import seeded


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the class probability: `insertion` is high and `deletion` low where a map is right."""

    insertion: float
    deletion: float


def insertion_deletion(
    forward: Callable[[Tensor], Tensor],
    x: Tensor,
    found: Tensor,
    class_index: int,
    *,
    baseline: Tensor,
    steps: int = 16,
    chunk: int = 16,
    tie_key: str = "",
) -> Faithfulness:
    """Measure insertion and deletion AUC of one map (H, W) on one image (3, H, W), by the trapezoid rule.

    Insertion puts the image's pixels into `baseline` (3, H, W) from the map's highest value down, deletion
    takes them out of the image in the same order, a `steps`-th part at a time; the height of a curve is the
    softmax probability of the class. Pixels of equal value come in an order drawn from `tie_key`, because a
    raster order would credit the top of the film. `forward` maps (N, 3, H, W) to logits, in eval mode.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, allowed is at least 1")
    if found.shape != x.shape[-2:]:
        raise ValueError(f"map has shape {tuple(found.shape)}, allowed is the image's, {tuple(x.shape[-2:])}")
    rank = _ranks(found, tie_key)
    cuts = torch.linspace(0, found.numel(), steps + 1).round()
    chosen = rank < cuts[:, None, None]  # (steps + 1, H, W): the pixels inserted, or deleted, so far
    # deletion begins where insertion ends and the other way round: both ends are run once
    inserted, deleted = (
        torch.where(chosen[:, None], x, baseline),
        torch.where(chosen[1:-1, None], baseline, x),
    )
    with torch.inference_mode():
        stages = torch.cat([inserted, deleted]).contiguous(memory_format=torch.channels_last)
        logits = torch.cat([forward(part) for part in torch.split(stages, chunk)])
        heights = logits.double().softmax(1)[:, class_index]
    insertion = heights[: steps + 1]
    deletion = torch.cat([insertion[-1:], heights[steps + 1 :], insertion[:1]])
    return Faithfulness(*(float(torch.trapezoid(curve, dx=1 / steps)) for curve in (insertion, deletion)))


def _ranks(found: Tensor, tie_key: str) -> Tensor:
    """Rank 0 for the highest pixel; equal pixels are ranked in an order drawn from the key."""
    shuffled = torch.randperm(found.numel(), generator=seeded(tie_key))
    order = shuffled[found.flatten()[shuffled].argsort(descending=True, stable=True)]
    rank = torch.empty_like(order)
    rank[order] = torch.arange(found.numel())
    return rank.view(found.shape)
