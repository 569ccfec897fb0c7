"""The objective, term by term, against hand-worked and torch's own values; one loss a view, nothing shared."""

import math
from dataclasses import dataclass, replace
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.config.study import Distillation, Method, Weights
from shared.distillation.objective import (
    METHODS,
    Targets,
    Terms,
    gaussian_nll,
    kl_from_uniform,
    method_terms,
    site_terms,
    softened_kl,
    teacher_in_loop_losses,
    total_variation,
    view_losses,
)

METHOD_NAMES = get_args(Method)


@dataclass(frozen=True)
class Output:
    """What a compact model would give for some views."""

    logits: Tensor
    mask: Tensor
    masked_input: Tensor
    features: tuple[Tensor, ...]


class Same:
    """Adapters that predict the teacher's features by the student's, with fixed variances."""

    variances = (torch.tensor([0.5, 2.0], dtype=torch.float64), torch.full((3,), 0.1, dtype=torch.float64))

    def __call__(self, features: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return features

    def sigma2(self) -> tuple[Tensor, ...]:
        return self.variances


def made(num_views: int = 4, seed: int = 0) -> tuple[Output, Tensor, Targets]:
    """Return an output, labels and targets in float64."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(num_views, *shape, generator=generator, dtype=torch.float64)

    mask = torch.sigmoid(normal(1, 8, 8))
    output = Output(normal(3), mask, mask * normal(3, 8, 8), (normal(2, 4, 4), normal(3, 2, 2)))
    labels = torch.randint(3, (num_views,), generator=generator)
    return output, labels, Targets(normal(3), (normal(2, 4, 4), normal(3, 2, 2)))


def test_softened_kl_is_torch_kl() -> None:
    """softened_kl is t^2 times torch's kl_div of the softened outputs, and zero for equal logits."""
    output, _, targets = made()
    for t in (1.0, 4.0):
        soft = functional.softmax(targets.logits / t, dim=1)
        log = functional.log_softmax(output.logits / t, dim=1)
        expected = t * t * functional.kl_div(log, soft, reduction="none").sum(dim=1)
        torch.testing.assert_close(softened_kl(targets.logits, output.logits, t), expected)
    assert softened_kl(output.logits, output.logits + 3, 4.0).abs().max() < 1e-12


def test_softened_kl_by_hand() -> None:
    """Teacher (1/2, 1/2) and student (3/4, 1/4): KL is log(2 / sqrt 3)."""
    teacher = torch.zeros(1, 2, dtype=torch.float64)
    student = torch.tensor([[math.log(3.0), 0.0]], dtype=torch.float64)
    assert softened_kl(teacher, student, 1.0).item() == pytest.approx(math.log(2 / math.sqrt(3)), rel=1e-12)


def test_kl_from_uniform_by_hand() -> None:
    """KL(uniform || p) is zero for equal logits and log(2 / sqrt 3) for p = (3/4, 1/4)."""
    logits = torch.tensor([[5.0, 5.0], [math.log(3.0), 0.0]], dtype=torch.float64)
    assert kl_from_uniform(logits).tolist() == pytest.approx([0.0, math.log(2 / math.sqrt(3))], abs=1e-7)


def test_gaussian_nll_is_torch_nll() -> None:
    """gaussian_nll is torch.nn.GaussianNLLLoss of each view and layer, averaged over the layers."""
    output, _, targets = made()
    loss = nn.GaussianNLLLoss(reduction="mean", eps=1e-12)
    expected = [
        sum(
            loss(mean[n], target[n], variance.view(-1, 1, 1).expand_as(mean[n])).item()
            for mean, target, variance in zip(output.features, targets.features, Same.variances, strict=True)
        )
        / 2
        for n in range(4)
    ]
    found = gaussian_nll(output.features, targets.features, Same.variances)
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


def test_gaussian_nll_is_bounded_below_by_its_entropy() -> None:
    """No prediction has a smaller loss than the exact one: half the mean of log sigma^2."""
    output, _, targets = made()
    bound = sum(v.log().mean().item() / 2 for v in Same.variances) / 2
    exact = gaussian_nll(targets.features, targets.features, Same.variances)
    assert exact.tolist() == pytest.approx([bound] * 4, rel=1e-12)
    assert (gaussian_nll(output.features, targets.features, Same.variances) > bound).all()


def test_total_variation_by_hand() -> None:
    """A flat mask varies by 0, one vertical step by 1/2, a full ramp in both directions by 1, at any size."""
    for side in (8, 32):
        step = torch.zeros(1, 1, side, side, dtype=torch.float64)
        step[..., side // 2 :] = 1
        ramp = torch.linspace(0, 1, side, dtype=torch.float64)
        both = (ramp.view(1, 1, 1, -1) + ramp.view(1, 1, -1, 1)) / 2
        masks = torch.cat([torch.full_like(step, 0.3), step, both * 2])
        assert total_variation(masks).tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-12)


def test_every_term_has_its_weight() -> None:
    """The loss is the sum of the terms times their weights, as the module's formula says."""
    output, labels, targets = made()
    terms = Terms(
        explainer=True, alpha=0.3, temperature=2.0, feature=0.7, area=1.1, total_variation=0.9, mask_area=0.4
    )
    expected = (
        0.3 * functional.cross_entropy(output.logits, labels, reduction="none")
        + 0.7 * softened_kl(targets.logits, output.logits, 2.0)
        + 0.7 * gaussian_nll(output.features, targets.features, Same.variances)
        + 1.1 * (output.mask.mean(dim=(1, 2, 3)) - 0.4).clamp(min=0)
        + 0.9 * total_variation(output.mask)
    )
    torch.testing.assert_close(view_losses(output, labels, targets, Same(), terms), expected)


def test_the_area_hinge_is_free_below_its_share() -> None:
    """A mask that keeps at most mask_area costs nothing, one that keeps more pays the difference."""
    output, labels, targets = made(2)
    mask = torch.tensor([0.25, 0.75], dtype=torch.float64).view(2, 1, 1, 1).expand(2, 1, 8, 8)
    terms = Terms(explainer=True, alpha=1.0, temperature=1.0, mask_area=0.5)
    with_area = view_losses(replace(output, mask=mask), labels, targets, None, replace(terms, area=4.0))
    without = view_losses(replace(output, mask=mask), labels, targets, None, terms)
    assert (with_area - without).tolist() == pytest.approx([0.0, 1.0])


def test_the_teacher_in_the_loop() -> None:
    """The weight d is on KL(T(x) || T(x')), c on KL(uniform || T of the complement), each view for itself."""
    output, _, targets = made()
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 3)).double()
    images = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    fill = torch.full_like(images, 0.2)
    terms = Terms(
        explainer=True, alpha=1.0, temperature=4.0, teacher_on_masked=0.5, teacher_on_complement=0.25
    )
    complement = images - output.mask * (images - fill)
    expected = 0.5 * softened_kl(targets.logits, teacher(output.masked_input), 1.0)
    expected = expected + 0.25 * kl_from_uniform(teacher(complement))
    found = teacher_in_loop_losses(teacher, output, images, fill, targets, terms)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_one_view_never_changes_another(method: Method) -> None:
    """A view's loss and gradient stay the same, bit for bit, when all other views change or one is NaN."""
    terms = method_terms(Distillation(method=method))
    output, labels, targets = made(seed=0)
    other, other_labels, other_targets = made(seed=1)
    nan = torch.tensor(math.nan, dtype=torch.float64)

    def first_view(rest: Output, rest_labels: Tensor, rest_targets: Targets) -> tuple[Tensor, Tensor]:
        def join(mine: Tensor, theirs: Tensor) -> Tensor:
            return torch.cat([mine[:1], theirs[1:]])

        logits = join(output.logits, rest.logits).requires_grad_()
        joined = Output(
            logits,
            join(output.mask, rest.mask),
            join(output.masked_input, rest.masked_input),
            tuple(map(join, output.features, rest.features)),
        )
        joined_targets = Targets(
            join(targets.logits, rest_targets.logits),
            tuple(map(join, targets.features, rest_targets.features)),
        )
        losses = view_losses(joined, join(labels, rest_labels), joined_targets, Same(), terms)
        (gradient,) = torch.autograd.grad(losses[0], logits)
        return losses[0].detach(), gradient

    loss, gradient = first_view(output, labels, targets)
    assert gradient[1:].abs().max() == 0
    for rest, rest_labels, rest_targets in (
        (other, other_labels, other_targets),
        (replace(other, logits=other.logits * nan, mask=other.mask * nan), other_labels, other_targets),
    ):
        changed, changed_gradient = first_view(rest, rest_labels, rest_targets)
        assert torch.equal(loss, changed)
        assert torch.equal(gradient[:1], changed_gradient[:1])


def test_methods_are_sets_of_weights() -> None:
    """Each method is a row of the design's table: who has an explainer, features, mask terms, hard labels."""
    assert set(METHODS) == set(METHOD_NAMES)
    assert {name for name, terms in METHODS.items() if terms.explainer} == {"medtex", "rounds"}
    assert {name for name, terms in METHODS.items() if terms.uses_features} == {"medtex", "rounds"}
    assert {name for name, terms in METHODS.items() if terms.uses_teacher_in_loop} == {"rounds"}
    assert {name: (terms.alpha, terms.temperature) for name, terms in METHODS.items()} == {
        "supervised": (1.0, 1.0), "kd": (0.0, 4.0), "hybrid": (0.5, 4.0), "medtex": (0.0, 1.0), "rounds": (0.5, 4.0)
    }  # fmt: skip
    plain = Terms(explainer=False, alpha=1.0, temperature=1.0)
    rest = {"feature", "area", "total_variation", "teacher_on_masked", "teacher_on_complement"}
    weights = {
        name: {key: value for key, value in terms.__dict__.items() if key in rest and value}
        for name, terms in [*METHODS.items(), ("plain", plain)]
    }
    assert weights == {
        "plain": {}, "supervised": {}, "kd": {}, "hybrid": {}, "medtex": {"feature": 0.01},
        "rounds": {
            "feature": 0.01, "area": 4.0, "total_variation": 0.05, "teacher_on_masked": 0.5,
            "teacher_on_complement": 0.1,
        },
    }  # fmt: skip
    assert {terms.mask_area for terms in METHODS.values()} == {0.5}


@pytest.mark.parametrize("weight", ["teacher_on_masked", "teacher_on_complement"])
def test_either_weight_needs_the_teacher(weight: str) -> None:
    """One of the two is enough, without an explainer neither is, and a term without weight runs no teacher."""
    terms = replace(Terms(explainer=True, alpha=1.0, temperature=1.0), **{weight: 0.5})
    assert terms.uses_teacher_in_loop
    assert not replace(terms, explainer=False).uses_teacher_in_loop
    output, _, targets = made()
    asked: list[Tensor] = []

    class Teacher(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            asked.append(x)
            return x.mean(dim=(2, 3))

    images = torch.ones(4, 3, 8, 8, dtype=torch.float64)
    teacher_in_loop_losses(Teacher(), output, images, images, targets, terms)
    assert len(asked) == 1


def test_terms_that_have_nothing_to_act_on_are_nothing() -> None:
    """Without an explainer the mask costs nothing whatever its weights are; nor do features without adapters."""
    output, labels, targets = made()
    plain = Terms(explainer=False, alpha=0.5, temperature=4.0)
    weighted = replace(plain, area=4.0, total_variation=0.5, mask_area=0.1, feature=0.5)
    expected = view_losses(output, labels, targets, None, plain)
    assert torch.equal(view_losses(output, labels, targets, None, weighted), expected)
    unread = replace(targets, features=())  # a method without features has no targets for them
    assert torch.equal(view_losses(output, labels, unread, Same(), plain), expected)


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_study_may_put_its_own_weights_over_a_method(method: Method) -> None:
    """A given weight replaces the method's, all others stay; mask_area is the study's."""
    rules = Distillation(method=method, weights=Weights(alpha=0.25, area=0.0), mask_area=0.3)
    assert method_terms(rules) == replace(METHODS[method], alpha=0.25, area=0.0, mask_area=0.3)
    assert method_terms(Distillation(method=method)) == METHODS[method]


def test_supervised_is_cross_entropy_and_kd_is_kl() -> None:
    """Method supervised sees labels only, kd sees the teacher only, hybrid is the mean of both."""
    output, labels, targets = made()
    hard = functional.cross_entropy(output.logits, labels, reduction="none")
    soft = softened_kl(targets.logits, output.logits, 4.0)
    for method, expected in (("supervised", hard), ("kd", soft), ("hybrid", (hard + soft) / 2)):
        torch.testing.assert_close(view_losses(output, labels, targets, None, METHODS[method]), expected)


@pytest.mark.parametrize(("weights", "stays_open"), [({}, True), ({"area": 4.0}, False)])
def test_without_mask_terms_the_identity_is_optimal(weights: dict[str, float], stays_open: bool) -> None:
    """A student that equals the teacher opens its mask fully, unless a mask term makes it pay for that."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(32, 3, 4, 4, generator=generator, dtype=torch.float64)
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).double().requires_grad_(False)
    with torch.no_grad():
        teacher[1].weight.copy_(torch.randn(3, 48, generator=generator, dtype=torch.float64))
    targets = Targets(teacher(images))
    labels = torch.zeros(32, dtype=torch.int64)
    openness = torch.zeros(1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([openness], lr=0.2)
    terms = Terms(**{**METHODS["medtex"].__dict__, "feature": 0.0, "mask_area": 0.3, **weights})
    for _ in range(600):
        mask = torch.sigmoid(openness).expand(32, 1, 4, 4)
        masked = mask * images
        loss = view_losses(Output(teacher(masked), mask, masked, ()), labels, targets, None, terms).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    area = torch.sigmoid(openness).mean().item()
    assert (area > 0.95) is stays_open


def test_sites_lose_nothing_but_the_terms_on_the_mask_alone() -> None:
    """At the sites the objective is that of the warm start without area and total variation."""
    for method in METHODS:
        rules = Distillation(method=method)
        here, there = site_terms(rules), method_terms(rules)
        assert (here.area, here.total_variation) == (0, 0)
        assert replace(here, area=there.area, total_variation=there.total_variation) == there
