"""The explainer is light, coarse, starts open and couples no samples."""

from typing import get_args

import pytest
import torch
from torch import nn

from shared.config.study import ExplainerChoice, StudentChoice
from shared.models.explainer import Explainer
from shared.models.student import build_student, count_macs, count_parameters


@pytest.mark.parametrize("stride", [4, 8, 16])
@pytest.mark.parametrize("side", [32, 64, 96])
def test_mask_has_the_grid_and_the_full_size(stride, side):
    """The mask is drawn on a grid of side / stride and enlarged to the image, within (0, 1)."""
    explainer = Explainer(4, stride)
    x = torch.randn(2, 3, side, side)
    assert explainer.coarse(x).shape == (2, 1, side // stride, side // stride)
    mask = explainer(x)
    assert mask.shape == (2, 1, side, side)
    assert mask.min() > 0
    assert mask.max() < 1


def test_it_stays_small():
    """The widest explainer of a study has at most 0.3 M parameters at any stride; one wider would not."""
    strides = get_args(ExplainerChoice.model_fields["stride"].annotation)
    most = {
        width: max(count_parameters(Explainer(width, stride)) for stride in strides) for width in (24, 25)
    }
    assert most == {24: 281_449, 25: 305_326}
    assert most[ExplainerChoice(width=24).width] <= 300_000
    with pytest.raises(ValueError, match="less than or equal to 24"):
        ExplainerChoice(width=25)


def test_it_costs_a_tenth_of_the_student():
    """At 64 px and the default grid it costs at most 10 percent of the student's MACs."""
    with torch.device("meta"):
        student = build_student(StudentChoice(), 2)
    assert count_macs(Explainer(), 64) <= 0.1 * count_macs(student, 64)


def test_masks_start_open():
    """With the last convolution's weights at zero the mask is sigmoid(2) everywhere."""
    explainer = Explainer(4)
    nn.init.zeros_(explainer.head.weight)
    mask = explainer(torch.randn(1, 3, 32, 32))
    torch.testing.assert_close(mask, torch.full_like(mask, 0.8807970779778823))


def test_each_layer_is_used_once_and_is_a_known_kind():
    """Each layer with parameters runs once a forward, and is a convolution or a GroupNorm."""
    explainer = Explainer(4)
    calls: dict[str, int] = {}
    leaves = {n: m for n, m in explainer.named_modules() if list(m.parameters(recurse=False))}
    for name, leaf in leaves.items():
        leaf.register_forward_hook(lambda *_, name=name: calls.update({name: calls.get(name, 0) + 1}))
    explainer(torch.zeros(1, 3, 32, 32))
    assert calls == dict.fromkeys(leaves, 1)
    assert {type(leaf) for leaf in leaves.values()} == {nn.Conv2d, nn.GroupNorm}


def test_samples_do_not_touch_each_other():
    """A sample's mask does not change when its neighbour in the batch changes."""
    explainer = Explainer(4).double()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    other = torch.stack([x[0], 50 * x[1]])
    torch.testing.assert_close(explainer(x)[0], explainer(other)[0], rtol=1e-12, atol=1e-12)


def test_every_weight_gets_a_gradient():
    """Every parameter influences the mask: none is left out of the U-Net's path."""
    explainer = Explainer(4).double()
    explainer(torch.randn(1, 3, 64, 64, dtype=torch.float64)).square().sum().backward()
    assert [n for n, p in explainer.named_parameters() if not p.grad.abs().sum() > 0] == []
