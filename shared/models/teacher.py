"""The frozen teacher: any timm classifier by name, with two feature maps matched to the student's.

In: a timm name, the number of classes, an image size and, where given, a local weights file. Out: logits and
feature maps pooled to at most 7x7. A teacher never trains here; its outputs on patients are targets, cached
encrypted at the site, and never leave it.
"""

import difflib
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.errors import ConfigError
from shared.models.torch_random import torch_seeded
from shared.models.weights import load_into, load_weights

POOLED_SIDE = 7
MATCHED_STRIDE = 16
SIZES_TO_SUGGEST = (32, 64, 96, 128, 192, 224, 256, 384)
DOES_NOT_FIT = (RuntimeError, AssertionError, ValueError)  # what timm and torch raise for a wrong image size


class Teacher(nn.Module):
    """A timm classifier that stays in eval mode and has no trainable parameter.

    `feature_channels` and `feature_sizes` describe the maps of `features`; `nhwc` says that the layers of
    `cam_layer` give their map as (N, H, W, C).
    """

    def __init__(self, network: nn.Module, image_size: int) -> None:
        super().__init__()
        self.network = network.requires_grad_(False)
        for module in network.modules():
            if hasattr(module, "inplace"):  # else a hook on the layer before would see a changed map
                vars(module)["inplace"] = False
        self.image_size = image_size
        self.nhwc = getattr(network, "output_fmt", "NCHW") == "NHWC"
        self._indices = _matched_indices(network)
        self.eval()
        shapes = self._feature_shapes()
        self.feature_channels = tuple(shape[1] for shape in shapes)
        self.feature_sizes = tuple((_pooled(shape[2]), _pooled(shape[3])) for shape in shapes)

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in eval mode whatever is asked: statistics and dropout of a teacher never change."""
        del mode
        return super().train(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for x (N, 3, H, W)."""
        logits: Tensor = self.network(x)
        return logits

    def features(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return logits and the matched maps (N, C, h, w), h and w at most 7, from one forward pass."""
        logits, maps = self._logits_and_maps(x)
        sizes = ((_pooled(m.shape[2]), _pooled(m.shape[3])) for m in maps)
        pooled = (functional.adaptive_avg_pool2d(m, size) for m, size in zip(maps, sizes, strict=True))
        return logits, tuple(pooled)

    def cam_layer(self, matched: int = -1) -> nn.Module:
        """Return the layer that gives a matched map, for Score-CAM: the last, or 0 for that of stride 16."""
        network: Any = self.network
        module: str = network.feature_info[self._indices[matched]]["module"]
        return self.network.get_submodule(module)

    def _logits_and_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        network: Any = self.network
        last, maps = network.forward_intermediates(x, indices=list(self._indices))
        return network.forward_head(last), maps

    @torch.no_grad()
    def _feature_shapes(self) -> list[torch.Size]:
        """Return the shapes (1, C, h, w) of the matched maps; raises as the network does on a wrong size."""
        like = next(self.network.parameters())
        image = like.new_zeros(1, 3, self.image_size, self.image_size)
        return [m.shape for m in self._logits_and_maps(image)[1]]


def build_teacher(
    name: str,
    num_classes: int,
    image_size: int,
    *,
    pretrained: bool = False,
    weights: Path | None = None,
    sha256: str | None = None,
    seed: int = 0,
) -> Teacher:
    """Build a frozen teacher, from a local safetensors file where `weights` is given.

    `pretrained` fetches the published weights from the Hugging Face hub. Raises ConfigError for an unknown
    name, a size that the network cannot take, weights that the hub does not give or that are for other
    classes; WeightsError for a file with a wrong digest or wrong tensors.
    """
    _check_name(name)
    state = None if weights is None else load_weights(weights, sha256)
    with torch_seeded(seed):
        network = _published(name, num_classes, image_size) if pretrained else None
        try:
            teacher = Teacher(network or _create(name, num_classes, image_size), image_size)
        except DOES_NOT_FIT as error:
            raise _size_error(name, image_size) from error
    if state is not None:
        _check_classes(teacher.network, state, num_classes)
        load_into(teacher.network, state)
    return teacher


def _create(name: str, num_classes: int, image_size: int, *, pretrained: bool = False) -> nn.Module:
    """Create the network, told its image size where it has that argument."""
    options: dict[str, Any] = {"pretrained": pretrained, "num_classes": num_classes}
    try:
        network: nn.Module = timm.create_model(name, img_size=image_size, **options)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        network = timm.create_model(name, **options)
    if not (hasattr(network, "forward_intermediates") and hasattr(network, "feature_info")):
        raise ConfigError(
            f"models.teacher.name is {name!r}, which gives no intermediate maps; use another, such as vgg19"
        )
    return network


def _published(name: str, num_classes: int, image_size: int) -> nn.Module:
    try:
        return _create(name, num_classes, image_size, pretrained=True)
    except DOES_NOT_FIT as error:
        raise ConfigError(
            f"models.teacher.name is {name!r}: its published weights do not exist or do not fit images of "
            f"{image_size} px; use its own size (often 224) or a local weights file"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"models.teacher.name is {name!r}: its published weights cannot be fetched from the Hugging Face "
            "hub; connect, or give a local weights file"
        ) from error


def _check_name(name: str) -> None:
    known: list[str] = timm.list_models()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=3) or ["vgg19", "visformer_small"]
        raise ConfigError(
            f"models.teacher.name is {name!r}, allowed is any timm classifier; use one such as "
            f"{', '.join(close)}"
        )


def _check_classes(network: Any, state: dict[str, Tensor], num_classes: int) -> None:
    """Refuse weights whose classifier has another number of outputs."""
    classifier = network.pretrained_cfg.get("classifier")
    weight = state.get(f"{classifier}.weight")
    if weight is not None and weight.shape[0] != num_classes:
        raise ConfigError(
            f"the teacher's weights are for {weight.shape[0]} classes, task.classes has {num_classes}; give "
            "weights fitted to these classes"
        )


def _matched_indices(network: Any) -> tuple[int, int]:
    """Return which of timm's intermediates are matched: the last before the end of stride 16, and the last.

    A plain transformer has stride 16 throughout: then the middle block and the last.
    """
    strides = [int(info["reduction"]) for info in network.feature_info]
    last = len(strides) - 1
    if strides[last] == MATCHED_STRIDE:
        return last // 2, last
    earlier = [index for index in range(last) if strides[index] == MATCHED_STRIDE]
    return (earlier[-1] if earlier else max(0, last - 1)), last


def _pooled(side: int) -> int:
    return min(side, POOLED_SIDE)


def _size_error(name: str, image_size: int) -> ConfigError:
    working = [size for size in SIZES_TO_SUGGEST if _takes(name, size)]
    nearest = sorted(sorted(working, key=lambda size: abs(size - image_size))[:4])
    return ConfigError(
        f"task.image_size is {image_size}, which the teacher {name} cannot take; it takes "
        f"{', '.join(map(str, nearest)) or 'no size that a study may have: use another teacher'}"
    )


def _takes(name: str, image_size: int) -> bool:
    try:
        with torch.device("meta"):
            Teacher(_create(name, 2, image_size), image_size)
    except DOES_NOT_FIT:
        return False
    return True
