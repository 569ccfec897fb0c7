"""The student: OFA-595, or another sub-network of the OFA-MobileNetV3 w1.2 supernet (arXiv 1908.09791).

In: the study's choice and the number of classes. Out: a network whose samples never touch each other, which
gives logits and the two feature maps that are matched to the teacher's. Its weights are what the hub merges;
they leave a hospital only as a bounded, noised difference.
"""

import io
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from ofa.imagenet_classification.elastic_nn.networks import OFAMobileNetV3
from ofa.imagenet_classification.networks import MobileNetV3
from ofa.utils.pytorch_modules import Hswish, SEModule
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from shared.config.study import StudentChoice, Subnet
from shared.errors import WeightsError
from shared.models.normalisation import fold_batch_norm, replace_batch_norm
from shared.models.torch_random import torch_seeded
from shared.models.weights import checked_bytes, load_into

WIDTH_MULTIPLIER = 1.2
FEATURE_STAGES = (4, 5)  # strides 16 and 32
FEATURE_CHANNELS = (136, 192)
OFA595 = Subnet(  # in the supernet's 20 slots; slot 4 is not used, its value is free
    kernels=(3, 5, 3, 7, 5, 5, 3, 5, 7, 5, 3, 5, 3, 5, 7, 3, 3, 3, 5, 3),
    expand_ratios=(3, 4, 3, 6, 4, 4, 6, 3, 6, 6, 3, 4, 6, 6, 6, 4, 6, 6, 6, 3),
    depths=(3, 4, 4, 4, 4),
)
_SUPERNET_KEY = ".bn.bn."  # only the supernet's dynamic layers have it


class SqueezeExcite(nn.Module):
    """Scale each channel of one sample by a gate from that sample's own channel means (arXiv 1709.01507)."""

    def __init__(self, reduce: nn.Conv2d, expand: nn.Conv2d) -> None:
        super().__init__()
        self.fc = nn.Sequential()
        self.fc.add_module("reduce", reduce)
        self.fc.add_module("relu", nn.ReLU())
        self.fc.add_module("expand", expand)
        self.fc.add_module("h_sigmoid", nn.Hardsigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Return x (N, C, H, W), each channel times a number in [0, 1]."""
        gated: Tensor = x * self.fc(x.mean((2, 3), keepdim=True))
        return gated


class Student(nn.Module):
    """A MobileNetV3 from `ofa` with our own forward pass; parameter names stay those of `ofa`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        parts = dict(network.named_children())
        self.first_conv = parts["first_conv"]
        self.blocks = nn.ModuleList(parts["blocks"].children())
        self.final_expand_layer = parts["final_expand_layer"]
        self.feature_mix_layer = parts["feature_mix_layer"]
        self.classifier = parts["classifier"]
        self.stage_blocks = _stage_blocks(self.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (N, classes) for x (N, 3, H, W)."""
        return self.forward_with_features(x)[0]

    def forward_with_features(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return logits (N, classes) and the feature maps of `FEATURE_STAGES`, (N, 136 | 192, h, w)."""
        logits, maps = self.forward_with_maps(x)
        return logits, tuple(maps[stage] for stage in FEATURE_STAGES)

    def forward_with_maps(self, x: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
        """Return logits (N, classes) and what the last block of each stage gave, (N, channels, h, w), by stage."""
        stage_of_end = {blocks[-1]: stage for stage, blocks in self.stage_blocks.items()}
        maps: dict[int, Tensor] = {}
        x = self.first_conv(x)
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in stage_of_end:
                maps[stage_of_end[index]] = x
        x = self.final_expand_layer(x).mean((2, 3), keepdim=True)
        logits: Tensor = self.classifier(self.feature_mix_layer(x).flatten(1))
        return logits, maps


def build_student(choice: StudentChoice, num_classes: int, *, seed: int = 0) -> Student:
    """Build the student with seeded initial weights; the caller's random state is left as it was.

    Activations are not in place (per-patient gradients need their inputs) and nothing is dropped, so train
    and eval mode are the same.
    """
    with torch_seeded(seed):
        network = batch_norm_network(choice, num_classes)
        replace_batch_norm(network, choice.normalisation)
        _replace_ofa_modules(network)
        student = Student(network)
        _start_as_identity(student)
        return student


def _start_as_identity(student: Student) -> None:
    """Set the last normalisation scale of every block with a shortcut to 0 (arXiv 1706.02677, section 5.1).

    From scratch the image is otherwise lost in the depth of 20 blocks: after some warm starts the last stage said
    the same of every image (measured: public test AUC 0.56 and 0.79 on two seeds; 0.88 and 0.91 so).
    """
    for block in student.blocks:
        if block.shortcut is not None:
            nn.init.zeros_(block.get_parameter("conv.point_linear.bn.weight"))


def batch_norm_network(choice: StudentChoice, num_classes: int) -> nn.Module:
    """Return ofa's own MobileNetV3 for a choice, with BatchNorm, as its publishers built it."""
    architecture = choice.architecture
    config = _subnet_config(architecture) if isinstance(architecture, Subnet) else _ofa595_config()
    config["classifier"] |= {"out_features": num_classes, "dropout_rate": 0}
    network: nn.Module = MobileNetV3.build_from_config(config)
    return network


def student_features(student: Student, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return logits (N, classes) and the matched feature maps, strides 16 and 32, from one forward pass."""
    return student.forward_with_features(x)


def cam_layers(student: Student) -> dict[str, nn.Module]:
    """Return the layers that Score-CAM may use: 136 channels (stride 16), 192 and 1152 (stride 32)."""
    return {
        "stage4": student.blocks[student.stage_blocks[4][-1]],
        "stage5": student.blocks[student.stage_blocks[5][-1]],
        "final_expand": student.final_expand_layer,
    }


def load_batch_norm_weights(student: Student, state: Mapping[str, Tensor]) -> None:
    """Load the state dict of the BatchNorm original into a `frozen` student, bar a foreign classifier.

    Raises WeightsError naming the first tensor that does not fit.
    """
    folded = fold_batch_norm(state)
    own = student.state_dict()
    for key in ("classifier.linear.weight", "classifier.linear.bias"):
        if key in folded and folded[key].shape != own[key].shape:
            folded[key] = own[key]
    load_into(student, folded)


def load_published(student: Student, choice: StudentChoice, path: Path) -> None:
    """Load ofa's published weights, of the student's own architecture or of its w1.2 supernet, with BatchNorm folded.

    Raises WeightsError for a file with another digest than the study's, or that does not fit.
    """
    state = read_published_weights(path, choice.weights_sha256)
    if any(_SUPERNET_KEY in key for key in state):
        state = _from_supernet(state, choice.architecture, path)
    load_batch_norm_weights(student, state)


def _from_supernet(
    state: Mapping[str, Tensor], architecture: Literal["ofa595"] | Subnet, path: Path
) -> dict[str, Tensor]:
    """Return the state dict of a sub-network with the supernet's own weights, cut out by ofa itself."""
    head = state.get("classifier.linear.weight")
    supernet = _supernet(1000 if head is None else len(head))
    try:
        supernet.load_state_dict(dict(state))  # ofa leaves what a file lacks as it was, so it is counted
        whole = _num_learned(state) == _num_learned(supernet.state_dict())
    except (AssertionError, KeyError, RuntimeError, ValueError) as error:
        raise _no_supernet(path) from error
    if not whole:
        raise _no_supernet(path)
    _activate(supernet, OFA595 if architecture == "ofa595" else architecture)
    cut: dict[str, Tensor] = supernet.get_active_subnet(preserve_weight=True).state_dict()
    return cut


def _no_supernet(path: Path) -> WeightsError:
    return WeightsError(
        f"{path.name}: is not whole or not of ofa's supernet w{WIDTH_MULTIPLIER}; use that one"
    )


def _num_learned(state: Mapping[str, Tensor]) -> int:
    return sum(not key.endswith("num_batches_tracked") for key in state)


def read_published_weights(path: Path, sha256: str | None = None) -> dict[str, Tensor]:
    """Read one of ofa's published files (a pickle, so read as tensors only), whose digest may be asked for."""
    data, _ = checked_bytes(path, sha256)
    try:
        loaded = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        state = loaded.get("state_dict", loaded)
        return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    except Exception as error:
        raise WeightsError(f"{path.name}: is not a file of tensors that torch can read safely") from error


def count_parameters(module: nn.Module) -> int:
    """Return the number of parameters, trainable or not."""
    return sum(parameter.numel() for parameter in module.parameters())


def count_macs(module: nn.Module, size: int) -> int:
    """Return the multiply-accumulates of convolutions and matrix products for one size x size image.

    Counted by torch's FlopCounterMode (which counts two a MAC) on shapes alone; normalisation and activations
    are not in it.
    """
    shapes = {name: value.to("meta") for name, value in module.state_dict(keep_vars=False).items()}
    buffers = {name: value.to("meta") for name, value in module.named_buffers()}
    image = torch.empty(1, 3, size, size, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        functional_call(module, shapes | buffers, (image,))
    return int(counter.get_total_flops()) // 2


def _ofa595_config() -> dict[str, Any]:
    text = files("shared.models").joinpath("ofa595_net_config.json").read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    return config


def _subnet_config(subnet: Subnet) -> dict[str, Any]:
    """Return the sub-network's configuration from a supernet that holds shapes only."""
    with torch.device("meta"):
        supernet = _supernet(1000)
    _activate(supernet, subnet)
    config: dict[str, Any] = supernet.get_active_net_config()
    return config


def _supernet(num_classes: int) -> Any:
    return OFAMobileNetV3(
        num_classes,
        width_mult=WIDTH_MULTIPLIER,
        ks_list=[3, 5, 7],
        expand_ratio_list=[3, 4, 6],
        depth_list=[2, 3, 4],
    )


def _activate(supernet: Any, subnet: Subnet) -> None:
    supernet.set_active_subnet(list(subnet.kernels), list(subnet.expand_ratios), list(subnet.depths))


def _stage_blocks(blocks: nn.ModuleList) -> dict[int, list[int]]:
    """Return the block indices of each stage; a stage begins with the block that has no shortcut."""
    stages: dict[int, list[int]] = {0: []}
    for index, block in enumerate(blocks):
        if block.shortcut is None:
            stages[len(stages)] = []
        stages[len(stages) - 1].append(index)
    return stages


def _replace_ofa_modules(network: nn.Module) -> None:
    """Replace ofa's Python activations and SE by torch's own, equal in value, faster and not in place."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Hswish):
                setattr(parent, name, nn.Hardswish())
            elif isinstance(child, SEModule):
                setattr(parent, name, SqueezeExcite(child.fc.reduce, child.fc.expand))
            elif isinstance(child, nn.ReLU):
                child.inplace = False
