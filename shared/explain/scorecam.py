"""Score-CAM: where one image speaks for one class, seen by re-running the whole model on masked images.

In: any classifier, one of its layers, one normalised image. Out: one map and the channel weights behind it.
A map describes one person's image: the hub draws maps of public reference images only, and a site's maps
leave as noised sums alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

Forward = Callable[[Tensor], Tensor]
Mode = Literal["increase", "softmax"]
NEARLY_CONSTANT = (
    1e-6  # range over largest value: below it a channel's mask would be rounding noise, magnified
)


@dataclass(frozen=True)
class ScoreCam:
    """One map with what it was made from.

    `map` (H, W) float32, at least 0, on no scale of its own in `increase` mode (logits times activation);
    `weights` (C,) and `channel_indices` (C,) of the scored channels; `logits` (classes,) of the image itself;
    `grid` (h, w) and `num_channels` of the layer before any choice of channels; `no_evidence` says that the
    map is zero everywhere, so that nothing is ever divided by its sum.
    """

    map: Tensor
    weights: Tensor
    channel_indices: Tensor
    logits: Tensor
    grid: tuple[int, int]
    num_channels: int
    no_evidence: bool


def score_cam(
    model: nn.Module,
    layer: nn.Module,
    x: Tensor,
    class_index: int,
    *,
    baseline: Tensor,
    channels: int | Sequence[int] | None = None,
    mode: Mode = "increase",
    chunk: int = 16,
    nhwc: bool = False,
    forward: Forward | None = None,
) -> ScoreCam:
    """Map the evidence for one class in one image x (3, H, W); `baseline` is the fill image, of x's shape.

    `increase` (arXiv 1910.01279, increase of confidence on logits; no softmax over channels):
        w_c = logit(x m_c + b (1 - m_c)) - logit(b),   map = ReLU(sum_c w_c A_c),
    m_c being channel c of `layer`, bilinear to the input and scaled to 0..1. Constant channels have m_c = 0
    and w_c = 0 exactly, so they are not run. `softmax` equals pytorch-grad-cam 1.5.7 (x m_c, softmax of raw
    logits over channels, map scaled to 0..1) and exists to be compared with it.
    `channels`: None is all, a number is that many of highest spatial energy, a sequence names them. `chunk`
    changes time and memory only. `nhwc`: the layer gives (N, H, W, C). `forward` replaces model(x) -> logits.
    ValueError for shapes, classes or channels that do not exist. The model is left as it was found.
    """
    image, fill = _checked(x), _checked(baseline)
    if image.shape != fill.shape:
        raise ValueError(
            f"baseline has shape {tuple(fill.shape)}, allowed is that of x, {tuple(image.shape)}"
        )
    run = forward or model
    with torch.inference_mode(), evaluating(model):
        logits, activation = _first_forward(run, layer, torch.cat([image, fill]), nhwc=nhwc)
        if not 0 <= class_index < logits.shape[1]:
            raise ValueError(f"class_index is {class_index}, allowed is 0 to {logits.shape[1] - 1}")
        kept = _kept_channels(activation, channels)
        if mode == "softmax":
            masked = _masked(image, torch.zeros_like(fill), activation[kept], chunk, mode)
            weights = _logits(run, masked, class_index, image).softmax(0)
            found = _library_map(weights, activation[kept], _size(image))
        else:
            varies = _varies(activation[kept])
            masked = _masked(image, fill, activation[kept[varies]], chunk, mode)
            weights = logits.new_zeros(len(kept))
            weights[varies] = _logits(run, masked, class_index, image) - logits[1, class_index]
            coarse = (weights[:, None, None] * activation[kept]).sum(0)
            found = _upsampled(coarse[None], _size(image))[0].relu()
    # cloned outside inference mode: ordinary tensors for whoever works on with them
    return ScoreCam(
        map=found.float().clone(),
        weights=weights.clone(),
        channel_indices=kept.clone(),
        logits=logits[0].clone(),
        grid=_size(activation),
        num_channels=len(activation),
        no_evidence=not bool(found.any()),
    )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode, and each back into the mode in which it was found."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def spatial_energy(activation: Tensor) -> Tensor:
    """Energy of each channel (C,) of (C, h, w): sum of squares about the channel's own spatial mean."""
    centred = activation - activation.mean((1, 2), keepdim=True)
    return centred.square().sum((1, 2))


def _checked(image: Tensor) -> Tensor:
    batch = image[None] if image.dim() == 3 else image
    if batch.dim() != 4 or batch.shape[0] != 1:
        raise ValueError(f"an image has shape {tuple(image.shape)}, allowed is (3, H, W) or (1, 3, H, W)")
    return batch


def _size(image: Tensor) -> tuple[int, int]:
    return image.shape[-2], image.shape[-1]


def _first_forward(run: Forward, layer: nn.Module, batch: Tensor, *, nhwc: bool) -> tuple[Tensor, Tensor]:
    """Logits of the batch and the layer's activation (C, h, w) of its first image; no hook outlives this."""
    seen: list[Tensor] = []
    # cloned: the next layer may work in place on this output
    handle = layer.register_forward_hook(lambda _module, _inputs, output: seen.append(output.clone()))
    try:
        logits = run(batch)
    finally:
        handle.remove()
    if not seen:
        raise ValueError(
            f"layer {type(layer).__name__} did not run; choose a layer that the model's forward uses"
        )
    activation = seen[-1].movedim(-1, 1) if nhwc else seen[-1]
    if activation.dim() != 4:
        raise ValueError(
            f"layer {type(layer).__name__} gives shape {tuple(activation.shape)}, allowed is a map"
        )
    return logits, activation[0]


def _kept_channels(activation: Tensor, channels: int | Sequence[int] | None) -> Tensor:
    available = activation.shape[0]
    if channels is None or (isinstance(channels, int) and channels >= available):
        return torch.arange(available, device=activation.device)
    if isinstance(channels, int):
        if channels < 1:
            raise ValueError(f"channels is {channels}, allowed is at least 1")
        # stable: equal energies keep the order of their indices
        order = spatial_energy(activation).argsort(descending=True, stable=True)
        return order[:channels].sort().values
    kept = torch.tensor(list(channels), dtype=torch.long, device=activation.device)
    if len(kept) == 0 or int(kept.min()) < 0 or int(kept.max()) >= available:
        raise ValueError(f"channels are {list(channels)}, allowed are indices 0 to {available - 1}")
    return kept


def _varies(activation: Tensor) -> Tensor:
    flat = activation.flatten(1)
    return flat.amax(1) - flat.amin(1) > NEARLY_CONSTANT * flat.abs().amax(1)


def _masked(image: Tensor, fill: Tensor, activation: Tensor, chunk: int, mode: Mode) -> Iterator[Tensor]:
    """Yield masked images (<= chunk, 3, H, W), one a channel; only one chunk of masks exists at a time."""
    for start in range(0, len(activation), chunk):
        masks = _masks(activation[start : start + chunk], _size(image), mode)
        masked = torch.lerp(fill, image, masks[:, None])
        # channels last: the same numbers, 1.2 to 2 times faster convolutions on a CPU
        yield masked.contiguous(memory_format=torch.channels_last)


def _logits(run: Forward, batches: Iterator[Tensor], class_index: int, like: Tensor) -> Tensor:
    """Logit of the class for every image of all batches."""
    return torch.cat([like.new_empty(0), *(run(batch)[:, class_index] for batch in batches)])


def _upsampled(maps: Tensor, size: tuple[int, int], *, align_corners: bool = False) -> Tensor:
    return F.interpolate(maps[None], size, mode="bilinear", align_corners=align_corners)[0]


def _masks(activation: Tensor, size: tuple[int, int], mode: Mode) -> Tensor:
    """Channels (c, h, w) -> masks (c, H, W) in 0..1; softmax mode keeps the library's corners and offset."""
    maps = _upsampled(activation, size, align_corners=mode == "softmax")
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low + (1e-8 if mode == "softmax" else 0))


def _library_map(weights: Tensor, activation: Tensor, size: tuple[int, int]) -> Tensor:
    """ReLU on the coarse grid, scaled to 0..1, bilinear, scaled again: pytorch-grad-cam's order."""
    coarse = (weights[:, None, None] * activation).sum(0).relu()
    return _scaled(_upsampled(_scaled(coarse)[None], size)[0])


def _scaled(values: Tensor) -> Tensor:
    from_zero = values - values.min()
    return from_zero / (1e-7 + from_zero.max())
