"""Each layer's rule against autograd, one sample at a time, in float64."""

import pytest
import torch
from torch import Tensor, nn

from client.dp_sgd.patient_gradients import PatientGradients
from shared.models.normalisation import FrozenAffine

ROUNDING = 1e-06

BOUND = 1.0


def frozen_affine() -> FrozenAffine:
    """Return a layer whose weights differ."""
    layer = FrozenAffine(6)
    nn.init.normal_(layer.weight)
    return layer


def group_norm() -> nn.GroupNorm:
    """Return a layer whose weights differ."""
    layer = nn.GroupNorm(3, 6)
    nn.init.normal_(layer.weight)
    return layer


LAYERS = {
    "pointwise, multiplied out": (lambda: nn.Conv2d(6, 4, 1), (6, 5, 7)),
    "pointwise, as factors": (lambda: nn.Conv2d(128, 160, 1), (128, 2, 3)),
    "pointwise with stride": (lambda: nn.Conv2d(6, 4, 1, 2), (6, 5, 7)),
    "dense": (lambda: nn.Conv2d(6, 4, 3, 2, 1, bias=False), (6, 9, 8)),
    "dense, as factors": (lambda: nn.Conv2d(64, 40, 3, 1, 0, dilation=2), (64, 6, 5)),
    "depthwise": (lambda: nn.Conv2d(6, 6, 5, 1, 2, groups=6), (6, 7, 6)),
    "depthwise with stride": (lambda: nn.Conv2d(6, 6, 3, 2, 1, groups=6), (6, 8, 9)),
    "depthwise with dilation": (lambda: nn.Conv2d(6, 6, (3, 2), (2, 3), (2, 1), (2, 3), groups=6), (6, 9, 9)),
    "grouped": (lambda: nn.Conv2d(6, 4, 3, 1, 1, groups=2), (6, 5, 5)),
    "depthwise with two outputs": (lambda: nn.Conv2d(6, 12, 3, 2, 1, groups=6), (6, 6, 5)),
    "linear": (lambda: nn.Linear(6, 4), (6,)),
    "linear on tokens": (lambda: nn.Linear(6, 4), (5, 6)),
    "linear on tokens, as factors": (lambda: nn.Linear(128, 160), (2, 128)),
    "group norm": (group_norm, (6, 4, 5)),
    "group norm on vectors": (group_norm, (6,)),
    "frozen affine": (frozen_affine, (6, 4, 5)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("trained", [("weight", "bias"), ("weight",), ("bias",)])
def test_rule_equals_autograd(kind: str, samples: int, trained: tuple[str, ...]) -> None:
    """Norms, clipped sum and the gradient that flows on are autograd's, whichever parameters train."""
    torch.manual_seed(3)
    build, shape = LAYERS[kind]
    first = nn.Conv2d(shape[0], shape[0], 1) if len(shape) == 3 else nn.Linear(shape[-1], shape[-1])
    model = nn.Sequential(first, build()).double()
    names = ["0.weight", *(f"1.{name}" for name in trained if getattr(model[1], name) is not None)]
    parameters = dict(model.named_parameters())
    x = torch.randn(3 * samples, *shape, dtype=torch.float64)

    def losses(x: Tensor) -> Tensor:
        return model(x).pow(3).flatten(1).sum(1)

    sums = {name: torch.zeros_like(parameters[name]) for name in names}
    norms = []
    for patient in x.split(samples):
        gradients = torch.autograd.grad(losses(patient).mean(), [parameters[name] for name in names])
        norms.append(torch.stack([g.square().sum() for g in gradients]).sum().sqrt())
        for name, gradient in zip(names, gradients, strict=True):
            sums[name] += gradient * min(1.0, BOUND / (norms[-1].item() * (1 + ROUNDING)))
    with PatientGradients(model, names) as engine:
        clipped = engine.clipped_sum(lambda: losses(x), 3, BOUND)
    as_factors = "as factors" in kind  # of 13 bits, see test_gradient_forms
    torch.testing.assert_close(clipped.norms, torch.stack(norms), rtol=1e-3 if as_factors else 1e-10, atol=0)
    for name in names:
        near = 1e-3 * sums[name].abs().max().item() if as_factors else 1e-12
        torch.testing.assert_close(
            clipped.sums[name], sums[name], rtol=1e-3 if as_factors else 1e-9, atol=near
        )
