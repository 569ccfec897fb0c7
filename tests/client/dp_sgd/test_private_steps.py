"""The private steps: against torch's SGD, under missing and broken patients, and with their noise measured."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from client.dp_sgd.private_steps import StepPlan, clipped_sum_for_step, private_steps
from shared.errors import DataError, PrivacyError
from shared.privacy.noise import Coins, NoiseSource

PLAN = StepPlan(
    steps=4,
    sample_rate=0.5,
    noise_multiplier=0.0,
    max_grad_norm=math.inf,
    learning_rate=0.3,
    momentum=0.9,
    normaliser=6.0,
    patients_per_chunk=3,
)
COINS = Coins(b"k" * 32)
IDS = [f"p{index}" for index in range(12)]
NAMES = ["0.weight", "0.bias", "3.weight"]  # not "3.bias": a frozen parameter must not move


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """Return a small network, the same in every call."""
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 8), nn.GroupNorm(2, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)


class Patients:
    """Made-up patients of two samples each; `broken` maps an identifier to what is wrong with it."""

    def __init__(self, model: nn.Module, ids: list[str], broken: Mapping[str, str] | None = None) -> None:
        self.model, self.ids, self.broken = model, ids, broken or {}
        self.dtype = next(model.parameters()).dtype
        self.loaded: list[tuple[str, int]] = []
        self.template = {"x": torch.zeros(2, 6, dtype=self.dtype), "y": torch.zeros(2, dtype=torch.long)}

    def load(self, patient: int, step: int) -> dict[str, Tensor]:
        name = self.ids[patient]
        self.loaded.append((name, step))
        generator = torch.Generator().manual_seed(int(name[1:]))
        x = torch.randn(2, 6, generator=generator, dtype=torch.float64).to(self.dtype)
        y = torch.randint(3, (2,), generator=generator)
        match self.broken.get(name):
            case "raises":
                raise OSError("truncated file")
            case "shape":
                return {"x": x[:1], "y": y[:1]}
            case "type":
                return {"x": x, "y": y.float()}
            case "fields":
                return {"x": x}
            case "label":
                return {"x": x, "y": y + 3}
            case "pixels":
                return {"x": x * math.nan, "y": y}
        return {"x": x, "y": y}

    def losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return functional.cross_entropy(self.model(batch["x"]), batch["y"], reduction="none")


def test_without_privacy_it_is_plain_training() -> None:
    """No noise and no clip: torch's SGD with momentum on sum of patients' mean losses / normaliser."""
    model, other = network(), network()
    update = private_steps(
        model, NAMES, PLAN, patient_ids=IDS, coins=COINS, noise=NoiseSource(), source=Patients(model, IDS)
    )
    trained = [dict(other.named_parameters())[name] for name in NAMES]
    optimiser = torch.optim.SGD(trained, lr=PLAN.learning_rate, momentum=PLAN.momentum)
    patients = Patients(other, IDS)
    for step in range(PLAN.steps):
        batch = [patients.load(i, step) for i, name in enumerate(IDS) if COINS.included(name, step, 0.5)]
        assert batch
        optimiser.zero_grad()
        (torch.stack([patients.losses(fields).mean() for fields in batch]).sum() / PLAN.normaliser).backward()
        optimiser.step()
    base = dict(network().named_parameters())
    assert list(update) == sorted(NAMES)
    for name, value in zip(NAMES, trained, strict=True):
        assert update[name].dtype == torch.float32
        torch.testing.assert_close(update[name].double(), (value - base[name]).detach(), rtol=1e-5, atol=1e-7)
    for name, value in model.named_parameters():
        assert torch.equal(value, base[name]), "the model must be back at its base weights"


def clipped(ids: list[str], step: int = 1, bound: float = 0.4, **broken: str) -> Tensor:
    """Return the clipped sum of one step as one vector."""
    model = network()
    sums = clipped_sum_for_step(
        model, NAMES, replace(PLAN, max_grad_norm=bound), patient_ids=ids, coins=COINS,
        source=Patients(model, ids, broken), step=step,
    )  # fmt: skip
    return torch.cat([sums[name].flatten() for name in NAMES])


def test_removing_one_patient_moves_the_clipped_sum_by_at_most_the_clip() -> None:
    """Neighbours differ by at most max_grad_norm in every step, and by nothing where the coin left them out."""
    moved = 0
    for step in range(3):
        whole = clipped(IDS, step)
        for name in IDS:
            distance = (whole - clipped([other for other in IDS if other != name], step)).norm().item()
            assert distance <= 0.4 * (1 + 1e-9)
            if COINS.included(name, step, PLAN.sample_rate):
                assert distance > 0.39  # the clip acts on everybody here, so that the bound is reached
                moved += 1
            else:
                assert distance < 1e-12
    assert moved > 5


@pytest.mark.parametrize("fault", ["raises", "shape", "type", "fields", "label", "pixels"])
def test_a_patient_that_cannot_be_used_counts_zero(fault: str) -> None:
    """Whatever is wrong with one patient, the sum is that of the others, as if it were not there."""
    name = next(name for name in IDS if COINS.included(name, 1, PLAN.sample_rate))
    others = [other for other in IDS if other != name]
    torch.testing.assert_close(clipped(IDS, **{name: fault}), clipped(others), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("size", [1, 5, 100])
def test_the_sum_does_not_depend_on_the_chunk_size(size: int) -> None:
    """patients_per_chunk changes nothing but rounding."""
    model = network()
    sums = clipped_sum_for_step(
        model, NAMES, replace(PLAN, max_grad_norm=0.4, patients_per_chunk=size), patient_ids=IDS, coins=COINS,
        source=Patients(model, IDS), step=1,
    )  # fmt: skip
    joined = torch.cat([sums[name].flatten() for name in NAMES])
    torch.testing.assert_close(joined, clipped(IDS), rtol=1e-12, atol=1e-13)


def test_only_sampled_patients_are_loaded_and_each_step_draws_anew() -> None:
    """A patient is loaded in exactly the steps of its own coins, numbered from first_step."""
    model = network()
    patients = Patients(model, IDS)
    seen: list[int] = []
    private_steps(
        model, NAMES, PLAN, patient_ids=IDS, coins=COINS, noise=NoiseSource(), source=patients, first_step=8,
        progress=seen.append,
    )  # fmt: skip
    expected = [(name, step) for step in range(8, 12) for name in IDS if COINS.included(name, step, 0.5)]
    assert patients.loaded == expected
    assert seen == [8, 9, 10, 11]
    private_steps(
        model, NAMES, PLAN, patient_ids=[], coins=COINS, noise=NoiseSource(), source=patients,
        progress=seen.append,
    )  # fmt: skip
    assert seen[4:] == [0, 1, 2, 3], "numbered from 0 where nobody says otherwise"


def test_an_empty_batch_still_moves_the_weights_by_its_noise() -> None:
    """Without any patient the update is noise of std influence * z C / normaliser: measured to 3 percent."""
    model = nn.Linear(400, 100, bias=False)
    plan = replace(PLAN, noise_multiplier=1.5, max_grad_norm=2.0, momentum=0.5, steps=3)

    class Nobody(Patients):
        def __init__(self) -> None:
            super().__init__(model, [])
            self.template = {"x": torch.zeros(1, 400)}

        def losses(self, batch: Mapping[str, Tensor]) -> Tensor:
            return model(batch["x"]).sum(1)

    update = private_steps(
        model, ["weight"], plan, patient_ids=[], coins=COINS, noise=NoiseSource(), source=Nobody()
    )["weight"]
    std = 1.5 * 2.0 / 6.0 * 0.3 * math.sqrt(1.75**2 + 1.5**2 + 1)
    assert update.std().item() == pytest.approx(std, rel=0.03)  # 8 standard errors
    assert abs(update.mean().item()) < 6 * std / math.sqrt(update.numel())


def test_a_loss_that_never_works_is_raised_before_a_patient_is_loaded() -> None:
    """A mistake that is nobody's does not turn into silent zeros."""
    model = network()
    patients = Patients(model, IDS)
    patients.template = {"x": torch.zeros(2, 5, dtype=torch.float64), "y": torch.zeros(2, dtype=torch.long)}
    with pytest.raises(RuntimeError, match="shapes"):
        private_steps(model, NAMES, PLAN, patient_ids=IDS, coins=COINS, noise=NoiseSource(), source=patients)
    assert not patients.loaded


def test_the_model_is_restored_when_a_step_fails() -> None:
    """An exception in the middle leaves base weights and requires_grad behind."""
    model = network()
    base = {name: value.clone() for name, value in model.state_dict().items()}

    def stop(step: int) -> None:
        raise KeyboardInterrupt(step)

    with pytest.raises(KeyboardInterrupt):
        private_steps(
            model, NAMES, PLAN, patient_ids=IDS, coins=COINS, noise=NoiseSource(), source=Patients(model, IDS),
            progress=stop,
        )  # fmt: skip
    assert all(torch.equal(value, base[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_repeatable_noise_is_refused_under_privacy() -> None:
    """Whoever knows the key could subtract the noise."""
    model = network()
    noise = NoiseSource.seeded_without_privacy(b"0" * 32)
    plan = replace(PLAN, noise_multiplier=1.0, max_grad_norm=1.0)
    with pytest.raises(PrivacyError, match="seeded"):
        private_steps(
            model, NAMES, plan, patient_ids=IDS, coins=COINS, noise=noise, source=Patients(model, IDS)
        )


def test_one_patient_cannot_be_listed_twice() -> None:
    """Two entries of one identifier would double its sensitivity."""
    with pytest.raises(DataError, match="repeats"):
        clipped([*IDS, IDS[0]])
