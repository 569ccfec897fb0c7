"""Where a trained layer's backward pass is caught, and which models allow it.

In: a model and the names of its trained parameters. Out: one tap per layer, which keeps the patients'
gradients; or a refusal, before any patient is read. Nothing here may leave the site.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from client.dp_sgd.gradient_forms import Kept
from client.dp_sgd.layer_rules import Request, Rule, rule_for
from shared.errors import UnsupportedLayerError


class Tap:
    """One trained layer: its replaced forward, and what the backward pass kept of each parameter."""

    def __init__(self, layer: nn.Module, prefix: str, names: Mapping[str, str]) -> None:
        self.layer = layer
        self.prefix = prefix
        self.names = names  # local name: name in the model
        self.rule: Rule[Any] = rule_for(layer, prefix, names.keys())
        where = next(layer.parameters()).device
        # reaches the layer where no input requires a gradient
        self.anchor = torch.zeros((), device=where, requires_grad=True)
        self.batch: int | None = None
        self.num_patients = 0
        self.kept: dict[str, Kept] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Run the layer so that its backward pass comes to `receive`."""
        if not torch.is_grad_enabled():
            return self.rule.forward(self.layer, x)[0]
        if self.batch is not None:
            raise UnsupportedLayerError(
                f"{self.prefix} is used twice in one forward pass, allowed is once; use two layers or freeze it"
            )
        self.batch = x.shape[0]
        output: Tensor = _Tapped.apply(x, self.anchor, self)
        return output

    def receive(self, saved: tuple[Tensor, ...], grad_output: Tensor, needs_input: bool) -> Tensor | None:
        """Keep the patients' gradients and return the gradient at the input."""
        request = Request(self.names.keys(), self.num_patients, needs_input)
        grad_input, kept = self.rule.backward(self.layer, saved, grad_output, request)
        self.kept = {self.names[local]: value for local, value in kept.items()}
        return grad_input


class _Tapped(torch.autograd.Function):
    """A layer whose weights autograd does not see: it never computes their summed gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, anchor: Tensor, tap: Tap) -> Tensor:  # noqa: ARG004 - the anchor is there for its gradient alone: see Tap.anchor
        output, saved = tap.rule.forward(tap.layer, x)
        ctx.tap = tap
        ctx.save_for_backward(*saved)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, None, None]:
        return ctx.tap.receive(ctx.saved_tensors, grad_output, ctx.needs_input_grad[0]), None, None


def refuse_coupling(model: nn.Module) -> None:
    """Raise UnsupportedLayerError if any layer, trained or frozen, lets one sample touch another.

    Statistics of the batch (BatchNorm in train mode or without running statistics), statistics that the batch
    updates (any layer with running statistics in train mode), and dropout, whose draws depend on a sample's
    place in the batch.
    """
    for prefix, module in model.named_modules():
        statistics = hasattr(module, "running_mean") or hasattr(module, "running_var")
        over_batch = isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None  # noqa: SLF001 - the common base of 1d, 2d, 3d and Sync
        updates = statistics and module.training and getattr(module, "running_var", 0) is not None
        drops = isinstance(module, nn.modules.dropout._DropoutNd) and module.training and module.p > 0  # noqa: SLF001 - the common base of all dropouts
        if over_batch or updates or drops:
            raise UnsupportedLayerError(
                f"{prefix or 'the model'} is a {type(module).__name__} in {'train' if module.training else 'eval'} "
                "mode, allowed are layers that treat each sample alone; use GroupNorm or FrozenAffine, or put it in "
                "eval mode"
            )


def taps_of(model: nn.Module, names: set[str]) -> list[Tap]:
    """Return one tap per layer that owns a named parameter, in the model's order."""
    owners: dict[int, str] = {}
    local: dict[str, dict[str, str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        shared_with = owners.setdefault(id(parameter), name)
        if shared_with != name and names & {name, shared_with}:
            raise UnsupportedLayerError(
                f"{name} is also {shared_with}, allowed is one layer for a trained parameter"
            )
        if name in names:
            prefix, _, leaf = name.rpartition(".")
            local.setdefault(prefix, {})[leaf] = name
    unknown = names - {name for group in local.values() for name in group.values()}
    if unknown:
        raise UnsupportedLayerError(f"the model has no parameter {min(unknown)}; check the trainable set")
    layers = {prefix: model.get_submodule(prefix) for prefix in local}
    for prefix, layer in layers.items():
        if "forward" in vars(layer):
            raise UnsupportedLayerError(
                f"{prefix}.forward is already replaced; leave the other context first"
            )
    return [Tap(layer, prefix, local[prefix]) for prefix, layer in layers.items()]
