"""Small models and patients for attacks that need no images: a loss a patient, tensors already in memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from client.dp_sgd.private_steps import StepPlan, clipped_sum_for_step

Losses = Callable[[Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class InMemory:
    """Patients as mappings of tensors (`client.dp_sgd.private_steps.PatientSource`); all look like the first."""

    patients: Sequence[Mapping[str, Tensor]]
    loss: Losses
    form: Mapping[str, Tensor]

    @property
    def template(self) -> Mapping[str, Tensor]:
        """A made-up patient of zeros."""
        return {name: torch.zeros_like(value) for name, value in self.form.items()}

    def load(self, patient: int, step: int) -> Mapping[str, Tensor]:  # noqa: ARG002 - the same in every step
        """Return one patient's tensors."""
        return self.patients[patient]

    def losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return each sample's loss."""
        return self.loss(batch)


def plan(**changed: float) -> StepPlan:
    """Return one step over everybody, clip 1, of which nothing is divided: the update is the noisy sum itself."""
    fields: dict[str, float] = {
        "steps": 1,
        "sample_rate": 1.0,
        "noise_multiplier": 1.0,
        "max_grad_norm": 1.0,
        "learning_rate": 1.0,
        "momentum": 0.0,
        "normaliser": 1.0,
    }
    return StepPlan(**(fields | changed))


def summed(model: nn.Module, source: InMemory, who: Sequence[int], coins: object, **changed: float) -> Tensor:
    """Return the clipped sum of some of the patients as one flat vector."""
    chosen = InMemory([source.patients[index] for index in who], source.loss, source.form)
    names = sorted(name for name, _ in model.named_parameters())
    sums = clipped_sum_for_step(
        model,
        names,
        plan(**changed),
        patient_ids=[f"p{index}" for index in who],
        coins=coins,
        source=chosen,
        step=0,
    )
    return torch.cat([sums[name].double().flatten() for name in names])
