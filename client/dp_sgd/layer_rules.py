"""How one layer's gradient is told apart by patient: one rule per layer type.

In: a layer, its input and the gradient at its output, samples patient-major. Out: the gradient at its input,
and what is kept of each patient's parameter gradients. All of it is a patient's and stays at the site; only a
clipped, noised sum may leave.

`RULES` maps a layer's exact type to its rule (a subclass may compute something else): one entry adds a layer.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from client.dp_sgd.gradient_forms import Kept, matrix, per_sample
from shared.errors import UnsupportedLayerError
from shared.models.normalisation import FrozenAffine


@dataclass(frozen=True)
class Request:
    """What a backward pass asks of one layer: which parameters, of how many patients, and the input's or not."""

    wanted: AbstractSet[str]
    num_patients: int
    needs_input: bool


Saved = tuple[Tensor, ...]
Layer_contra = TypeVar("Layer_contra", bound=nn.Module, contravariant=True)
Gradients = tuple[Tensor | None, Mapping[str, Kept]]


class Rule(Protocol[Layer_contra]):
    """The forward and backward pass of one layer type; holds no state."""

    def check(self, layer: Layer_contra) -> None:
        """Raise UnsupportedLayerError for settings of the layer that the rule does not cover."""

    def forward(self, layer: Layer_contra, x: Tensor) -> tuple[Tensor, Saved]:
        """Return the layer's output for x (N, ...) and what the backward pass needs."""

    def backward(self, layer: Layer_contra, saved: Saved, grad_output: Tensor, request: Request) -> Gradients:
        """Return the gradient at the input and what is kept of each wanted parameter."""


class LinearRule:
    """y = x W' + b on the last axis of x (N, ..., I)."""

    def check(self, layer: nn.Linear) -> None:
        """Every nn.Linear is covered."""

    def forward(self, layer: nn.Linear, x: Tensor) -> tuple[Tensor, Saved]:
        """Return the output (N, ..., O)."""
        return functional.linear(x, layer.weight, layer.bias), (x,)

    def backward(self, layer: nn.Linear, saved: Saved, grad_output: Tensor, request: Request) -> Gradients:
        """Treat all positions of all samples of a patient as one axis."""
        kept: dict[str, Kept] = {}
        outputs = grad_output.reshape(request.num_patients, 1, -1, layer.out_features).mT
        if "weight" in request.wanted:
            inputs = saved[0].reshape(request.num_patients, 1, -1, layer.in_features).mT
            kept["weight"] = matrix(outputs, inputs)
        if "bias" in request.wanted:
            kept["bias"] = per_sample(outputs.sum((1, 3)), request.num_patients)
        return grad_output @ layer.weight if request.needs_input else None, kept


class ConvolutionRule:
    """Any zero-padded Conv2d: a matrix product on unfolded inputs; depthwise has a way of its own."""

    def check(self, layer: nn.Conv2d) -> None:
        """Refuse padding that is not a number of zeros."""
        if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
            raise UnsupportedLayerError(
                f"Conv2d has padding {layer.padding!r} of mode {layer.padding_mode!r}, allowed is a number of "
                "'zeros' where a layer trains privately; pad before the layer or do not train it"
            )

    def forward(self, layer: nn.Conv2d, x: Tensor) -> tuple[Tensor, Saved]:
        """Return the output for x (N, C, H, W)."""
        output = functional.conv2d(
            x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups
        )
        return output, (x,)

    def backward(self, layer: nn.Conv2d, saved: Saved, grad_output: Tensor, request: Request) -> Gradients:
        """Treat all positions of all samples of a patient as one axis."""
        kept: dict[str, Kept] = {}
        if "weight" in request.wanted:
            kept["weight"] = _convolution_weight(layer, saved[0], grad_output, request.num_patients)
        if "bias" in request.wanted:
            kept["bias"] = per_sample(grad_output.sum((2, 3)), request.num_patients)
        return _convolution_input(layer, saved[0], grad_output) if request.needs_input else None, kept


class GroupNormRule:
    """GroupNorm on (N, C, ...): samples are folded into channels, so that torch's own kernel keeps them apart.

    The kernel then gives the gradients of scales and biases per sample at no cost beyond the input's.
    """

    def check(self, layer: nn.GroupNorm) -> None:
        """Every affine nn.GroupNorm is covered."""

    def forward(self, layer: nn.GroupNorm, x: Tensor) -> tuple[Tensor, Saved]:
        """Return the output; x and the statistics of each group of each sample are needed."""
        x = x.contiguous()
        samples, channels = x.shape[:2]
        output, mean, rstd = torch.native_group_norm(
            x, layer.weight, layer.bias, samples, channels, x[0, 0].numel(), layer.num_groups, layer.eps
        )
        return output, (x, mean, rstd)

    def backward(self, layer: nn.GroupNorm, saved: Saved, grad_output: Tensor, request: Request) -> Gradients:
        """Return everything from one kernel on (1, N C, positions)."""
        x, mean, rstd = saved
        samples, channels = x.shape[:2]
        folded = (1, samples * channels, x[0, 0].numel())
        grad_input, weight, bias = torch.ops.aten.native_group_norm_backward(
            grad_output.contiguous().view(folded), x.view(folded), mean.view(1, -1), rstd.view(1, -1),
            layer.weight.repeat(samples), *folded, samples * layer.num_groups, [request.needs_input, True, True],
        )  # fmt: skip
        gradients = {"weight": weight, "bias": bias}
        kept = {
            name: per_sample(gradients[name].view(samples, channels), request.num_patients)
            for name in request.wanted
        }
        return grad_input.view(x.shape) if request.needs_input else None, kept


class FrozenAffineRule:
    """y = weight x + bias per channel of (N, C, H, W)."""

    def check(self, layer: FrozenAffine) -> None:
        """Every FrozenAffine is covered."""

    def forward(self, layer: FrozenAffine, x: Tensor) -> tuple[Tensor, Saved]:
        """Return the output."""
        return FrozenAffine.forward(layer, x), (x,)

    def backward(self, layer: FrozenAffine, saved: Saved, grad_output: Tensor, request: Request) -> Gradients:
        """Sum over positions."""
        kept: dict[str, Kept] = {}
        if "weight" in request.wanted:
            kept["weight"] = per_sample((grad_output * saved[0]).sum((2, 3)), request.num_patients)
        if "bias" in request.wanted:
            kept["bias"] = per_sample(grad_output.sum((2, 3)), request.num_patients)
        return grad_output * layer.weight[:, None, None] if request.needs_input else None, kept


RULES: dict[type[nn.Module], Rule[Any]] = {
    nn.Linear: LinearRule(),
    nn.Conv2d: ConvolutionRule(),
    nn.GroupNorm: GroupNormRule(),
    FrozenAffine: FrozenAffineRule(),
}


def rule_for(layer: nn.Module, prefix: str, local_names: AbstractSet[str]) -> Rule[Any]:
    """Return the rule of a layer that owns the trainable parameters `local_names`.

    Raises UnsupportedLayerError for a type without a rule (so also for raw parameters of a container), for
    parameters that no rule knows (weight norm) and for settings that the rule does not cover.
    """
    rule = RULES.get(type(layer))
    if rule is None or not local_names <= {"weight", "bias"}:
        raise UnsupportedLayerError(
            f"{prefix or 'the model'} is a {type(layer).__name__} that trains {', '.join(sorted(local_names))}, "
            f"allowed are weight and bias of {', '.join(kind.__name__ for kind in RULES)}; leave it out of the "
            "trainable set or add a rule to client/dp_sgd/layer_rules.py"
        )
    rule.check(layer)
    return rule


def _convolution_weight(layer: nn.Conv2d, x: Tensor, grad_output: Tensor, num_patients: int) -> Kept:
    if layer.groups == layer.in_channels == layer.out_channels:
        return per_sample(_depthwise_weight(layer, x, grad_output), num_patients)
    pointwise = layer.kernel_size == (1, 1) and layer.stride == (1, 1) and layer.padding == (0, 0)
    columns = x
    if not pointwise:
        padding = _pixels(layer)
        columns = functional.unfold(x, layer.kernel_size, layer.dilation, padding, layer.stride)
    shape = layer.weight.shape
    split = (num_patients, x.shape[0] // num_patients, layer.groups)
    inputs = columns.reshape(*split, shape[1:].numel(), -1)
    outputs = grad_output.reshape(*split, layer.out_channels // layer.groups, -1)
    if layer.groups == 1:
        return matrix(outputs[:, :, 0], inputs[:, :, 0])
    return per_sample((outputs @ inputs.mT).sum(1).view(num_patients, *shape), num_patients)


def _depthwise_weight(layer: nn.Conv2d, x: Tensor, grad_output: Tensor) -> Tensor:
    """Return each sample's weight gradient (N, C, 1, k, k): its input convolved with its output gradient.

    Stride and dilation trade places. With kernels of 5 and 7 on a CPU this is 10 to 40 times faster than the
    batch's weight gradient by oneDNN 3.13, whose tuned depthwise kernels cover the forward direction.
    """
    samples, channels = x.shape[:2]
    gradient = functional.conv2d(
        x.reshape(1, samples * channels, *x.shape[2:]),
        grad_output.reshape(samples * channels, 1, *grad_output.shape[2:]),
        stride=layer.dilation,
        padding=layer.padding,
        dilation=layer.stride,
        groups=samples * channels,
    )
    # where the stride does not divide the map, rows beyond the kernel appear
    height, width = layer.kernel_size
    return gradient[..., :height, :width].reshape(samples, channels, 1, height, width)


def _pixels(layer: nn.Conv2d) -> tuple[int, ...]:
    if isinstance(layer.padding, str):
        raise TypeError("ConvolutionRule.check has refused this layer")
    return layer.padding


def _convolution_input(layer: nn.Conv2d, x: Tensor, grad_output: Tensor) -> Tensor:
    gradients = torch.ops.aten.convolution_backward(
        grad_output, x, layer.weight, None, layer.stride, layer.padding, layer.dilation, False, [0, 0],
        layer.groups, [True, False, False],
    )  # fmt: skip
    gradient: Tensor = gradients[0]
    return gradient
