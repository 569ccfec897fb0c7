"""The compact model is explainer and student together, and the trainable sets are exact."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from shared.config.study import StudentChoice, StudyConfig, Subnet
from shared.errors import WeightsError
from shared.models.compact import CompactModel, build_compact, fill_image, masked_input
from shared.models.explainer import Explainer
from shared.models.student import build_student, count_parameters
from shared.models.trainable import load_trainable, trainable_names

SMALL = StudentChoice(architecture=Subnet(kernels=(3,) * 20, expand_ratios=(3,) * 20, depths=(2,) * 5))
SETS = ("head", "scales", "last", "all")


class Constant(nn.Module):
    """An explainer that keeps the same share of every pixel."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return torch.full_like(x[:, :1], self.value)


@pytest.fixture(scope="module")
def student():
    """Return a small student of three classes."""
    return build_student(SMALL, 3)


def study(**distillation):
    """Return a study of three classes at 32 px with the small student."""
    return StudyConfig(
        name="a", purpose="p", ethics_reference="e", expires="2030-01-01",
        task={"classes": ["a", "b", "c"], "image_size": 32},
        models={"student": SMALL}, distillation=distillation,
    )  # fmt: skip


@pytest.mark.parametrize("fill", ["zero", "blur"])
@pytest.mark.parametrize("explainer", [None, Constant(1.0)])
def test_a_mask_of_ones_leaves_the_student_alone(student, explainer, fill):
    """With a mask of ones, or no explainer, the compact model is the student."""
    x = torch.randn(2, 3, 32, 32)
    model = CompactModel(student, explainer, fill)
    assert torch.equal(model(x), student(x))
    assert torch.equal(model.mask(x), torch.ones(2, 1, 32, 32))


def test_forward_is_the_logits_of_run(student):
    """Forward and run agree, and run's logits come from run's masked input."""
    x = torch.randn(2, 3, 32, 32)
    model = CompactModel(student, Explainer(4), "blur")
    output = model.run(x)
    assert torch.equal(model(x), output.logits)
    assert torch.equal(model.mask(x), output.mask)
    torch.testing.assert_close(model.student(output.masked_input), output.logits)
    assert [f.shape[1] for f in output.features] == [136, 192]


def test_a_mask_of_zeros_shows_the_fill(student):
    """With a mask of zeros the student sees the fill alone: zeros, or the blurred image."""
    x = torch.randn(1, 3, 32, 32)
    assert CompactModel(student, Constant(0.0), "zero").run(x).masked_input.abs().max() == 0
    blurred = CompactModel(student, Constant(0.0), "blur").run(x).masked_input
    assert torch.equal(blurred, fill_image(x, "blur"))


def test_masked_input_by_hand():
    """A flat image of 8 under a mask of 0.25 becomes 2 with zero fill and stays 8 with blur."""
    x = torch.full((1, 3, 32, 32), 8.0)
    mask = torch.full((1, 1, 32, 32), 0.25)
    torch.testing.assert_close(masked_input(x, mask, "zero"), torch.full_like(x, 2.0))
    torch.testing.assert_close(masked_input(x, mask, "blur"), x)


def test_blur_equals_a_direct_gaussian():
    """The blur of one bright pixel is the product of two normalised Gaussians of side / 16."""
    x = torch.zeros(1, 1, 64, 64, dtype=torch.float64)
    x[0, 0, 32, 32] = 1
    line = torch.exp(-(torch.arange(-8, 9, dtype=torch.float64) ** 2) / (2 * 4.0**2))
    line /= line.sum()
    expected = torch.zeros(64, 64, dtype=torch.float64)
    expected[24:41, 24:41] = line[:, None] * line[None, :]
    torch.testing.assert_close(fill_image(x, "blur")[0, 0], expected)


@pytest.mark.parametrize(
    ("method", "has_explainer"),
    [("supervised", False), ("kd", False), ("hybrid", False), ("medtex", True), ("rounds", True)],
)
def test_only_methods_with_a_mask_have_an_explainer(method, has_explainer):
    """Methods that mask nothing are built without an explainer."""
    assert (build_compact(study(method=method)).explainer is not None) == has_explainer


def test_build_is_seeded():
    """Two builds with one seed are equal in every tensor, and the caller's random state stays."""
    before = torch.get_rng_state()
    one, two = (build_compact(study(), seed=3).state_dict() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[k], two[k]) for k in one)


@pytest.mark.parametrize("side", [36, 236])
@pytest.mark.parametrize("stride", [4, 8, 16])
def test_a_side_need_not_be_a_multiple_of_the_strides(student, stride, side):
    """At 236 px, which OFA-595 is named after, and at 36 px the mask is whole and both features have a place."""
    task = {"classes": ["a", "b", "c"], "image_size": side}
    assert study().task.model_validate(task).image_size == side
    output = CompactModel(student, Explainer(4, stride)).run(torch.randn(1, 3, side, side))
    assert output.mask.shape == (1, 1, side, side)
    assert [f.shape[-1] for f in output.features] == [-(-side // 16), -(-side // 32)]


@pytest.mark.parametrize("explainer", [None, Explainer(4)])
def test_trainable_sets_are_nested(student, explainer):
    """Each trainable set holds the one before, sorted, and every name is a parameter."""
    model = CompactModel(student, explainer)
    sets = [trainable_names(model, which) for which in SETS]
    assert all(list(names) == sorted(names) for names in sets)
    assert all(set(a) < set(b) for a, b in pairwise(sets))
    assert set(sets[-1]) == {name for name, _ in model.named_parameters()}
    assert (explainer is None) == (not any(n.startswith("explainer.") for n in sets[1]))


@pytest.mark.parametrize("normalisation", ["group", "frozen"])
def test_trainable_sets_are_exact(normalisation):
    """On OFA-595 with two classes: head 3,074 and scales 54,634 parameters; last is all from stage 4 on."""
    choice = StudentChoice(normalisation=normalisation)
    with torch.device("meta"):
        model = CompactModel(build_student(choice, 2), None)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    total = {which: sum(sizes[n] for n in trainable_names(model, which)) for which in SETS}
    assert total["head"] == 3_074
    assert total["scales"] == 54_634
    assert total["all"] == 7_602_002
    early = [*(f"student.blocks.{i}." for i in range(12)), "student.first_conv."]
    left = [n for n in sizes if n.startswith(tuple(early)) and n not in trainable_names(model, "scales")]
    assert set(sizes) - set(trainable_names(model, "last")) == set(left)


def test_scales_by_name(student):
    """`scales` holds scales, biases and SE biases, but no convolution weight except the explainer's last."""
    names = trainable_names(CompactModel(student, Explainer(4)), "scales")
    assert "explainer.head.weight" in names
    assert "explainer.up0.1.weight" in names
    assert "explainer.up0.0.weight" not in names
    assert "student.blocks.3.conv.depth_conv.se.fc.reduce.bias" in names
    assert "student.blocks.3.conv.depth_conv.se.fc.reduce.weight" not in names
    assert not [n for n in names if n.endswith("conv.weight")]


def test_explainer_trains_through_the_student(student):
    """The student's loss reaches every parameter of the explainer through the mask."""
    explainer = Explainer(4)
    CompactModel(student, explainer)(torch.randn(1, 3, 64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in explainer.parameters())
    assert count_parameters(explainer) > 0


def test_trainable_weights_are_loaded_by_name():
    """Loading a trainable set changes those parameters and no other."""
    model = CompactModel(build_student(SMALL, 3), None)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    names = trainable_names(model, "head")
    load_trainable(model, {n: np.full(before[n].shape, 7, np.float32) for n in names})
    changed = {n for n, value in model.state_dict().items() if not torch.equal(before[n], value)}
    assert changed == set(names)
    assert all(bool((model.get_parameter(n) == 7).all()) for n in names)


@pytest.mark.parametrize(
    ("weights", "named"),
    [
        ({"student.nothing": np.zeros(1, np.float32)}, "student.nothing"),
        ({"student.classifier.linear.bias": np.zeros(4, np.float32)}, r"bias of shape \(4,\)"),
    ],
)
def test_trainable_weights_that_do_not_fit_are_refused(student, weights, named):
    """An unknown name or another shape is a WeightsError and changes nothing."""
    before = student.classifier.linear.bias.clone()
    with pytest.raises(WeightsError, match=named):
        load_trainable(CompactModel(student, None), weights)
    assert torch.equal(student.classifier.linear.bias, before)
