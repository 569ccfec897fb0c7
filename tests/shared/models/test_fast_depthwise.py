"""The faster gradient of depthwise convolutions equals torch's own."""

import pytest
import torch
from torch import nn

from shared.config.study import StudentChoice, Subnet
from shared.models import fast_depthwise as module
from shared.models.fast_depthwise import fast_depthwise
from shared.models.student import build_student


@pytest.mark.parametrize("side", [1, 2, 7, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
def test_gradients_equal_torch(kernel, stride, side):
    """Output, input gradient and weight gradient are torch's, for every kernel, stride and parity."""
    layer = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=False).double()
    x = torch.randn(3, 6, side, side + 1, dtype=torch.float64, requires_grad=True)
    expected = layer(x)
    weights = torch.randn_like(expected)
    own = torch.autograd.grad((expected * weights).sum(), (x, layer.weight))
    with fast_depthwise():
        output = layer(x)
    assert "_Depthwise" in type(output.grad_fn).__name__
    torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
    fast = torch.autograd.grad((output * weights).sum(), (x, layer.weight))
    torch.testing.assert_close(fast, own, rtol=1e-10, atol=1e-10)


def test_a_whole_student_trains_the_same():
    """Every gradient of a student is the same inside and outside."""
    small = Subnet(kernels=(5,) * 20, expand_ratios=(3,) * 20, depths=(2,) * 5)
    student = build_student(StudentChoice(architecture=small), 2).double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    names, parameters = zip(*student.named_parameters(), strict=True)
    expected = torch.autograd.grad(student(x).square().sum(), parameters)
    with fast_depthwise():
        found = torch.autograd.grad(student(x).square().sum(), parameters)
    for name, one, two in zip(names, expected, found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-8, atol=1e-10, msg=name)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_only_training_of_depthwise_layers_is_changed(groups, monkeypatch):
    """Other convolutions, frozen weights, no-grad code and code outside keep torch's own path."""
    used = []
    monkeypatch.setattr(module._Depthwise, "apply", lambda x, *_: used.append(True) or x)
    layer = nn.Conv2d(6, 6, 3, 1, 1, groups=groups, bias=False)
    x = torch.zeros(1, 6, 4, 4)
    layer(x)
    with fast_depthwise():
        with torch.no_grad():
            layer(x)
        layer.requires_grad_(False)(x)
        assert not used
        layer.requires_grad_(True)(x)
    assert bool(used) == (groups == 6)
