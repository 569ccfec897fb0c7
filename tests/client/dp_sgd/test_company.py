"""A patient's numbers are the same, bit for bit, whoever else is in the batch and wherever they stand."""

import numpy as np
import pytest
import torch
from scipy.optimize import lsq_linear
from torch import Tensor
from torch.nn import functional

from client.dp_sgd.patient_gradients import PatientGradients
from client.dp_sgd.private_steps import clipped_sum_for_step
from shared.config.study import StudentChoice, Subnet, TrainableSet
from shared.models.compact import CompactModel
from shared.models.explainer import Explainer
from shared.models.student import build_student
from shared.models.trainable import trainable_names
from shared.privacy.grid import Grid
from shared.privacy.noise import Coins
from shared.privacy.step_plan import StepPlan

CHUNK = 16
SMALL = Subnet(kernels=(3,) * 20, expand_ratios=(3,) * 20, depths=(2,) * 5)
COINS = Coins(bytes(32))


def detector(seed: int = 0) -> CompactModel:
    """Return a student that shows last bits: each group of one norm sees nothing but rounding and blows it up.

    A norm's scales are 0 and its biases beta solve W beta = const for each group of the next norm, so that what reaches
    that norm is constant but for the rounding of W beta. All values are within what a site accepts (1e4).
    """
    torch.manual_seed(seed)
    model = CompactModel(build_student(StudentChoice(architecture=SMALL), 2), Explainer(8))
    block = model.student.blocks[-1].conv
    weight = block.point_linear.conv.weight.detach().double().flatten(1).numpy()
    groups = block.point_linear.bn.num_groups
    size = len(weight) // groups
    rows = np.concatenate([weight[g * size + 1 : (g + 1) * size] - weight[g * size] for g in range(groups)])
    start = np.random.default_rng(seed).uniform(3e3, 9e3, weight.shape[1])
    found = lsq_linear(rows, -rows @ start, bounds=(4.0 - start, 9.9e3 - start), tol=1e-14)
    with torch.no_grad():
        block.depth_conv.bn.weight.zero_()
        block.depth_conv.bn.bias.copy_(torch.from_numpy(start + found.x))
        block.depth_conv.se.fc.expand.bias.fill_(9e3)
        block.point_linear.bn.weight.fill_(1e4)
        block.point_linear.bn.bias.zero_()
        model.student.classifier.linear.weight.mul_(1e3)
        assert all(float(value.abs().max()) <= 1e4 for value in model.parameters())
    return model


class Films:
    """Made-up patients of `samples` views, the same for an identifier in whatever company."""

    def __init__(self, model: CompactModel, ids: list[str], samples: int, size: int = 32) -> None:
        self.model, self.ids, self.samples, self.size = model, ids, samples, size
        self.template = {
            "x": torch.zeros(samples, 3, size, size),
            "y": torch.zeros(samples, dtype=torch.int64),
        }

    def load(self, patient: int, step: int) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(int(self.ids[patient][1:]) + 1000 * step)
        x = torch.randn(self.samples, 3, self.size, self.size, generator=generator)
        return {"x": x, "y": torch.full((self.samples,), int(self.ids[patient][1:]) % 2)}

    def losses(self, batch: dict[str, Tensor]) -> Tensor:
        output = self.model.run(batch["x"])
        return functional.cross_entropy(output.logits, batch["y"], reduction="none") + output.mask.mean(
            (1, 2, 3)
        )


def summed(model: CompactModel, which: TrainableSet, ids: list[str], samples: int) -> Tensor:
    """Return a step's clipped sum over everybody in `ids`, in units of 2^-44."""
    plan = StepPlan(1, 1.0, 1.0, 1.0, 0.1, 0.0, 1.0, CHUNK)
    sums = clipped_sum_for_step(
        model, trainable_names(model, which), plan, patient_ids=ids, coins=COINS,
        source=Films(model, ids, samples), step=0,
    )  # fmt: skip
    flat = torch.cat([sums[name].flatten() for name in sorted(sums)])
    units = (flat * 2**44).round()
    assert torch.equal(units * 2.0**-44, flat), "sums are whole units"
    return units.long()


@pytest.mark.parametrize(("which", "samples"), [("scales", 1), ("all", 2)])
@pytest.mark.parametrize("count", [1, 2, 15, 16, 17])
def test_a_patient_leaves_with_exactly_what_it_brought(which: TrainableSet, count: int, samples: int) -> None:
    """Without a patient the sum is less by exactly that patient's own integers, at every length of the batch."""
    model = detector()
    ids = [f"p{number}" for number in range(count)]
    whole = summed(model, which, ids, samples)
    for gone in {ids[0], ids[-1]}:
        own = summed(model, which, [gone], samples)
        assert 0 < float(own.double().norm()) <= 2**44
        rest = [one for one in ids if one != gone]
        assert torch.equal(whole - own, summed(model, which, rest, samples))


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 15, 16, 17])
def test_at_a_fixed_length_no_bit_depends_on_place_or_company(length: int) -> None:
    """In chunks of any one length a patient's integers are the same at every place and beside anybody."""
    model = detector()
    names = list(trainable_names(model, "all"))
    grid = Grid.of(1.0, 1.0)
    films = Films(model, [f"p{number}" for number in range(40)], 1)

    def alone(place: int, others: list[int]) -> Tensor:
        order = [*others[:place], 0, *others[place:]]
        fields = [films.load(one, 0) for one in order]
        batch = {name: torch.cat([one[name] for one in fields]) for name in fields[0]}
        include = torch.arange(length) == place
        with PatientGradients(model, names) as gradients:
            sums = gradients.clipped_units(lambda: films.losses(batch), length, grid, include).sums
        return torch.cat([sums[name].flatten() for name in sorted(sums)])

    first = alone(0, list(range(1, length)))
    for place in sorted({0, length // 2, length - 1}):
        assert torch.equal(first, alone(place, list(range(20, 19 + length)))), place
