"""The engine against one autograd call per patient, on the models that it is for, and on broken patients."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from client.dp_sgd.patient_gradients import PatientGradients
from shared.config.study import StudentChoice
from shared.errors import UnsupportedLayerError
from shared.models.compact import CompactModel
from shared.models.explainer import Explainer
from shared.models.student import build_student
from shared.models.trainable import trainable_names

ROUNDING = 1e-06


def loop(model: nn.Module, names: list[str], losses: list[Tensor], bound: float) -> tuple[dict, Tensor]:
    """Return clipped sum and norms by one autograd call per patient: the definition."""
    parameters = [dict(model.named_parameters())[name] for name in names]
    sums = {name: torch.zeros_like(value) for name, value in zip(names, parameters, strict=True)}
    norms = []
    for loss in losses:
        gradients = torch.autograd.grad(loss, parameters)
        norms.append(math.sqrt(sum(g.double().square().sum().item() for g in gradients)))
        for name, gradient in zip(names, gradients, strict=True):
            sums[name] += min(1, bound / (norms[-1] * (1 + ROUNDING))) * gradient
    return sums, torch.tensor(norms, dtype=torch.float64)


def distance(sums: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """Return |sums - others| / |others| over all parameters together."""
    squares = sum((sums[name].double() - others[name].double()).square().sum() for name in others)
    size = sum(value.double().square().sum() for value in others.values())
    return math.sqrt(squares / size)


def compact(dtype: torch.dtype, normalisation: str = "group") -> CompactModel:
    """Return explainer and OFA-595 with three classes."""
    torch.manual_seed(0)
    model = CompactModel(build_student(StudentChoice(normalisation=normalisation), 3), Explainer(8))
    for block in model.student.blocks:  # they start at 0, where no gradient passes
        nn.init.ones_(block.get_parameter("conv.point_linear.bn.weight"))
    if normalisation == "frozen":  # without statistics the 40 layers would blow the signal up
        for value in model.student.parameters():
            if value.ndim == 4:
                nn.init.normal_(value.data, std=1 / math.sqrt(value[0].numel()))
    return model.to(dtype)


def sample_losses(model: CompactModel, x: Tensor, y: Tensor) -> Tensor:
    """Return cross-entropy and mask area per sample: both parts of the model get gradients."""
    output = model.run(x)
    return functional.cross_entropy(output.logits, y, reduction="none") + output.mask.mean((1, 2, 3))


@pytest.mark.parametrize(
    ("which", "dtype", "tolerance"),
    [
        *((which, torch.float32, 1e-5) for which in ("head", "scales")),
        ("scales", torch.float64, 1e-9),
        ("last", torch.float32, 1e-3),  # factors of large matrices have 13 bits
        ("all", torch.float32, 1e-3),
    ],
)
@pytest.mark.parametrize("samples", [1, 3])
def test_compact_model_equals_a_loop_over_patients(which, dtype, tolerance, samples) -> None:
    """Clipped sum and norms of explainer and OFA-595 are those of one autograd call per patient."""
    model = compact(dtype)
    names = list(trainable_names(model, which))
    x = torch.randn(2 * samples, 3, 32, 32, dtype=dtype)
    y = torch.arange(2 * samples) % 3
    losses = [sample_losses(model, x[i : i + samples], y[i : i + samples]).mean() for i in (0, samples)]
    with PatientGradients(model, names) as gradients:
        clipped = gradients.clipped_sum(lambda: sample_losses(model, x, y), 2, 0.7)
    sums, norms = loop(model, names, losses, 0.7)
    torch.testing.assert_close(clipped.norms, norms, rtol=tolerance, atol=0)
    assert distance(clipped.sums, sums) < tolerance
    assert list(clipped.sums) == sorted(names)


def test_frozen_student_equals_a_loop_over_patients() -> None:
    """A student with folded BatchNorm (FrozenAffine) has the loop's clipped sum too."""
    model = compact(torch.float64, "frozen")
    names = list(trainable_names(model, "scales"))
    x, y = torch.randn(2, 3, 32, 32, dtype=torch.float64), torch.tensor([0, 2])
    losses = [sample_losses(model, x[i : i + 1], y[i : i + 1]).mean() for i in (0, 1)]
    sums, norms = loop(model, names, losses, 0.7)
    with PatientGradients(model, names) as gradients:
        clipped = gradients.clipped_sum(lambda: sample_losses(model, x, y), 2, 0.7)
    torch.testing.assert_close(clipped.norms, norms, rtol=1e-9, atol=0)
    assert distance(clipped.sums, sums) < 1e-9


class Small(nn.Module):
    """Every kind of layer with a rule, once: dense, depthwise and pointwise convolution, GroupNorm, Linear."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(2, 8), nn.ReLU(),
            nn.Conv2d(8, 8, 5, 1, 2, groups=8), nn.Conv2d(8, 64, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(64, 2),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def clipped_sum(x: Tensor, scale: Tensor, bound: float, include: Tensor | None = None):
    """Run Small on P patients with one sample each; `scale` (P,) multiplies their losses."""
    model = Small().to(x.dtype)
    names = [name for name, _ in model.named_parameters()]
    y = torch.zeros(len(x), dtype=torch.long)
    with PatientGradients(model, names) as gradients:
        return gradients.clipped_sum(
            lambda: functional.cross_entropy(model(x), y, reduction="none") * scale, len(x), bound, include
        )


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf, 3e38])
def test_a_broken_patient_contributes_exactly_nothing(broken: float) -> None:
    """Non-finite pixels, or pixels whose activations overflow, leave everybody else bit by bit as they were."""
    x = torch.randn(4, 3, 16, 16)
    x[1] = broken
    only_others = torch.tensor([True, False, True, True])
    healthy = x.clone()
    healthy[1] = 0
    got = clipped_sum(x, torch.ones(4), 0.5)
    expected = clipped_sum(healthy, torch.ones(4), 0.5, only_others)
    assert all(torch.equal(got.sums[name], value) for name, value in expected.sums.items())
    assert torch.equal(got.norms, expected.norms)
    assert got.norms[1] == 0


def test_a_loss_that_is_not_finite_contributes_exactly_nothing() -> None:
    """A patient with a NaN loss is left out, and its finite gradient with it."""
    model = nn.Linear(2, 1, bias=False)
    x = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    with PatientGradients(model, ["weight"]) as gradients:
        clipped = gradients.clipped_sum(
            lambda: model(x).flatten() + torch.tensor([0.0, math.nan]), 2, math.inf
        )
    assert torch.equal(clipped.sums["weight"], torch.tensor([[1.0, 0.0]]))


@pytest.mark.parametrize("scale", [1e25, 1e-25])
def test_gradients_whose_squares_leave_float32_are_clipped_properly(scale: float) -> None:
    """A finite gradient of length 1e25 is clipped to the bound; one of 1e-25 is neither clipped nor lost."""
    x = torch.randn(3, 3, 16, 16)
    scales = torch.tensor([1.0, scale, 1.0])
    got = clipped_sum(x, scales, 0.5)
    expected = clipped_sum(x.double(), scales.double(), 0.5)
    torch.testing.assert_close(got.norms, expected.norms, rtol=1e-5, atol=0 if scale > 1 else 1e-20)
    assert distance(got.sums, expected.sums) < 1e-5


def test_factors_that_leave_float32_are_clipped_properly() -> None:
    """Inputs of 1e18 against output gradients of 1e-24: the square of one vanishes, the product does not."""
    model = nn.Linear(8, 64, bias=False)
    x, weights = torch.full((2, 8), 1e18), torch.randn(64) * 1e-24
    with PatientGradients(model, ["weight"]) as gradients:
        clipped = gradients.clipped_sum(lambda: model(x) @ weights, 2, 1e-7)
    norm = weights.double().norm() * 1e18 * math.sqrt(8)
    torch.testing.assert_close(clipped.norms, norm.expand(2), rtol=1e-5, atol=0)
    torch.testing.assert_close(
        clipped.sums["weight"].double().norm(), torch.tensor(2e-7).double(), rtol=1e-5, atol=0
    )


def test_a_clipped_patient_is_never_longer_than_the_bound() -> None:
    """In float32, each of 40 patients alone stays within max_grad_norm."""
    for seed in range(40):
        torch.manual_seed(seed)
        sums = clipped_sum(torch.randn(1, 3, 16, 16), torch.full((1,), 100.0), 0.1).sums
        assert math.sqrt(sum(v.double().square().sum().item() for v in sums.values())) <= 0.1


def test_a_layer_that_is_not_used_gets_zeros() -> None:
    """A trained layer that the pass does not reach has a gradient of exactly zero."""
    model = nn.ModuleDict({"used": nn.Linear(2, 1), "idle": nn.Linear(2, 1)})
    names = [name for name, _ in model.named_parameters()]
    with PatientGradients(model, names) as gradients:
        sums = gradients.clipped_sum(lambda: model["used"](torch.ones(2, 2)).flatten(), 2, 1.0).sums
    assert not sums["idle.weight"].any()
    assert not sums["idle.bias"].any()
    assert sums["used.weight"].all()


def test_everything_is_restored_after_a_failure() -> None:
    """Forward methods, requires_grad, train mode and .grad are as found, also when the loss raises."""
    model = Small()
    model.layers[0].weight.requires_grad_(False)
    model.layers[3].eval()
    before = [(m.training, dict(vars(m)).get("forward")) for m in model.modules()]
    flags = [p.requires_grad for p in model.parameters()]

    def losses() -> Tensor:
        model.eval()
        raise KeyError("no such target")

    with (
        pytest.raises(KeyError),
        PatientGradients(model, ["layers.0.weight", "layers.3.weight"]) as gradients,
    ):
        gradients.clipped_sum(losses, 1, 1.0)
    assert [(m.training, dict(vars(m)).get("forward")) for m in model.modules()] == before
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    "run",
    [
        lambda layer, x: layer(layer(x)),
        lambda layer, x: layer(x) + x @ layer.weight,
        lambda layer, x: layer(x[:1]).expand(4, 2),
    ],
    ids=["used twice", "weight used past its layer", "one call for all samples"],
)
def test_uses_that_mix_patients_are_refused(run: Callable[[nn.Linear, Tensor], Tensor]) -> None:
    """A trained layer must see each sample once, and its weights must not be used elsewhere."""
    layer = nn.Linear(2, 2)
    with PatientGradients(layer, ["weight"]) as gradients, pytest.raises(UnsupportedLayerError):
        gradients.clipped_sum(lambda: run(layer, torch.ones(4, 2)).sum(1), 4, 1.0)


@pytest.mark.parametrize("count", [0, 5])
def test_losses_that_cannot_be_shared_out_are_refused(count: int) -> None:
    """Each of two patients has as many losses as the other, and at least one."""
    layer = nn.Linear(2, 1)
    with (
        PatientGradients(layer, ["weight"]) as gradients,
        pytest.raises(ValueError, match="multiple of 2 pat"),
    ):
        gradients.clipped_sum(lambda: layer(torch.ones(count, 2)).flatten(), 2, 1.0)


def test_gradients_are_taken_inside_the_context_only() -> None:
    """Before it is entered, and after it was left, layers run as torch runs them and nothing can be clipped."""
    layer = nn.Linear(2, 1)
    gradients = PatientGradients(layer, ["weight"])
    for _ in range(2):
        with pytest.raises(RuntimeError, match="outside the context"):
            gradients.clipped_sum(lambda: layer(torch.ones(2, 2)).flatten(), 2, 1.0)
        with gradients:
            gradients.clipped_sum(lambda: layer(torch.ones(2, 2)).flatten(), 2, 1.0)


def test_without_autograd_a_tapped_layer_is_the_layer() -> None:
    """A look without gradients, however often, gives the layer's own values and is not counted as its use."""
    layer, x = nn.Linear(2, 1), torch.ones(4, 2)
    expected = layer(x)
    with PatientGradients(layer, ["weight"]) as gradients:
        with torch.no_grad():
            assert torch.equal(layer(x), expected)
            assert torch.equal(layer(x), expected)
        assert gradients.clipped_sum(lambda: layer(x).flatten(), 2, 1.0).norms.tolist() == pytest.approx(
            [2**0.5] * 2
        )


def test_only_the_named_parameters_require_gradients_inside() -> None:
    """Nothing is computed for frozen parameters, and autograd reaches a trained layer behind them."""
    model = Small()
    with PatientGradients(model, ["layers.4.bias"]) as gradients:
        assert [name for name, p in model.named_parameters() if p.requires_grad] == ["layers.4.bias"]
        clipped = gradients.clipped_sum(lambda: model(torch.ones(2, 3, 8, 8)).sum(1), 2, 1.0)
    assert list(clipped.sums) == ["layers.4.bias"]
    assert clipped.norms.min() > 0
    assert all(p.requires_grad for p in model.parameters())
