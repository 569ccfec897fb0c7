"""A site's private steps: sample patients, clip each one's gradient, add noise, move the weights.

In: a model, a public step plan, the site's patients behind a `PatientSource`, coins and noise. Out: the
update, the difference of the weights after and before. The update is all that may leave, and only through the
door; clipped sums, batch sizes and failures stay.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from client.dp_sgd.patient_gradients import PatientGradients
from shared.errors import DataError, PrivacyError, UnsupportedLayerError
from shared.privacy.grid import Grid
from shared.privacy.noise import Coins, NoiseSource
from shared.privacy.step_plan import StepPlan

__all__ = ["PatientSource", "StepPlan", "clipped_sum_for_step", "private_steps", "rehearse_step"]

Fields = Mapping[str, Tensor]


class PatientSource(Protocol):
    """Where a step gets one patient's tensors, and what their losses are.

    A patient is a mapping of named tensors, each with S samples first: pixels (S, 3, H, W), labels (S,),
    teacher targets (S, ...). S, names, shapes and types are the template's for every patient.
    """

    @property
    def template(self) -> Fields:
        """One made-up patient, of valid values that depend on the study alone (zeros, class 0)."""

    def load(self, patient: int, step: int) -> Fields:
        """Return the tensors of the patient at this index of `patient_ids`, on the CPU; may raise anything."""

    def losses(self, batch: Fields) -> Tensor:
        """Run the model on P patients (P S, ...), patient-major, and return (P S,) losses, one per sample."""


def private_steps(
    model: nn.Module,
    names: Sequence[str],
    plan: StepPlan,
    *,
    patient_ids: Sequence[str],
    coins: Coins,
    noise: NoiseSource,
    source: PatientSource,
    first_step: int = 0,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """Take `plan.steps` private SGD steps and return the update by name, float32: final minus base weights.

    The steps run where the model is; noise is drawn on the CPU, from operating system entropy, and moved there.
    The model is back at its base weights afterwards. Steps are numbered from `first_step`, which must differ
    between rounds under one coin key. Each step: (sum of clipped gradients + noise of standard deviation
    noise_multiplier * max_grad_norm) / normaliser, then momentum, then the learning rate (arXiv 1607.00133
    with a public normaliser). Sum and noise are integers of one public grid. An empty batch adds noise and counts like
    any other.

    Raises PrivacyError for repeatable noise while noise is on, and whatever the loss of the template raises:
    a mistake that is no patient's stops here, before a patient is loaded.
    """
    if plan.noise_multiplier > 0 and noise.seeded:
        raise PrivacyError(
            "noise is seeded, allowed under privacy is operating system entropy; use NoiseSource()"
        )
    _check_identifiers(patient_ids)
    with PatientGradients(model, names) as gradients, _restored(model, names) as base:
        _rehearse(gradients, plan, source)
        parameters = {
            name: parameter.detach() for name, parameter in model.named_parameters() if name in base
        }
        velocity = {name: torch.zeros_like(value) for name, value in base.items()}
        unit = _unit(plan)
        for step in range(first_step, first_step + plan.steps):
            sums = _sampled_sum(gradients, plan, patient_ids, coins, source, step)
            for name, total in _with_noise(sums, plan, noise).items():
                average = total.to(velocity[name].dtype).mul_(unit / plan.normaliser)
                velocity[name].mul_(plan.momentum).add_(average)
                parameters[name].sub_(velocity[name], alpha=plan.learning_rate)
            if progress is not None:
                progress(step)
        return {name: (parameters[name] - value).to(torch.float32) for name, value in base.items()}


def clipped_sum_for_step(
    model: nn.Module,
    names: Sequence[str],
    plan: StepPlan,
    *,
    patient_ids: Sequence[str],
    coins: Coins,
    source: PatientSource,
    step: int,
) -> dict[str, Tensor]:
    """Return what one step would add noise to, float64 by name: the sum of its patients' clipped gradients.

    For the neighbour test: under the same coins, removing one patient moves it by at most max_grad_norm.
    Never leaves the site.
    """
    _check_identifiers(patient_ids)
    with PatientGradients(model, names) as gradients:
        _rehearse(gradients, plan, source)
        sums = _sampled_sum(gradients, plan, patient_ids, coins, source, step)
    return {name: total.double() * _unit(plan) for name, total in sums.items()}


def _sampled_sum(
    gradients: PatientGradients,
    plan: StepPlan,
    patient_ids: Sequence[str],
    coins: Coins,
    source: PatientSource,
    step: int,
) -> dict[str, Tensor]:
    sampled = [
        index for index, name in enumerate(patient_ids) if coins.included(name, step, plan.sample_rate)
    ]
    sums: dict[str, Tensor] | None = None
    for start in range(0, len(sampled), plan.patients_per_chunk):
        chunk = [
            _loaded(source, patient, step) for patient in sampled[start : start + plan.patients_per_chunk]
        ]
        parts = _chunk_sum(gradients, plan, source, chunk)
        sums = parts if sums is None else {name: total.add_(parts[name]) for name, total in sums.items()}
    return _nobody(gradients, plan) if sums is None else sums


def _loaded(source: PatientSource, patient: int, step: int) -> Fields | None:
    """Return the patient's tensors, or None where they cannot be had in the template's form."""
    template = source.template
    try:
        fields = source.load(patient, step)
        fits = fields.keys() == template.keys() and all(
            fields[name].shape == value.shape and fields[name].dtype == value.dtype
            for name, value in template.items()
        )
    except Exception:  # noqa: BLE001 - whatever is wrong with one patient must not show in any other's step
        return None
    return fields if fits else None


def _chunk_sum(
    gradients: PatientGradients, plan: StepPlan, source: PatientSource, chunk: Sequence[Fields | None]
) -> dict[str, Tensor]:
    """Return a chunk's clipped sum; if its loss raises, patients go one by one and the culprit counts zero.

    On a GPU no patient's values raise: what does is the machine's (memory, driver), and ends the round for everybody.
    A patient left out for it would depend on who else was there.
    """
    try:
        return _clipped(gradients, plan, source, chunk)
    except UnsupportedLayerError:
        raise
    except Exception:
        if gradients.device.type != "cpu":
            raise
        if len(chunk) == 1:  # the rehearsal has shown that the loss itself works
            return _nobody(gradients, plan)
    sums = _nobody(gradients, plan)
    for patient in chunk:
        for name, part in _chunk_sum(gradients, plan, source, [patient]).items():
            sums[name] += part
    return sums


def _clipped(
    gradients: PatientGradients,
    plan: StepPlan,
    source: PatientSource,
    chunk: Sequence[Fields | None],
    size: int | None = None,
) -> dict[str, Tensor]:
    """Run one chunk; a patient that did not load is the template, with weight zero: the others see no gap.

    Every chunk is filled up with such patients to its full length (`size` for rehearsals). Libraries compute a sample
    in other ways, to the last bits, in batches of other lengths, and weights can be made that blow last bits up
    (`docs/privacy-bounds.md`). On a GPU, besides, what memory the rehearsal took, every step takes.
    """
    template, device = source.template, gradients.device
    full = [*chunk, *[None] * ((size or plan.patients_per_chunk) - len(chunk))]
    batch = {
        name: torch.cat([(template if fields is None else fields)[name] for fields in full]).to(device)
        for name in template
    }
    include = torch.tensor([fields is not None for fields in full]).to(device)
    if math.isinf(plan.max_grad_norm):
        return gradients.clipped_sum(lambda: source.losses(batch), len(full), math.inf, include).sums
    grid = Grid.of(plan.noise_multiplier, plan.max_grad_norm)
    return gradients.clipped_units(lambda: source.losses(batch), len(full), grid, include).sums


def _nobody(gradients: PatientGradients, plan: StepPlan) -> dict[str, Tensor]:
    """Return the sum over no patients, in units; without a clip there are none, and sums are not integers."""
    return gradients.zeros(torch.float64 if math.isinf(plan.max_grad_norm) else torch.int64)


def _unit(plan: StepPlan) -> float:
    """Return the gradient that one unit of a sum stands for."""
    if math.isinf(plan.max_grad_norm):
        return 1.0
    return Grid.of(plan.noise_multiplier, plan.max_grad_norm).unit


def rehearse_step(model: nn.Module, names: Sequence[str], plan: StepPlan, source: PatientSource) -> None:
    """Run one chunk of made-up patients; raises what a step would raise that is no patient's."""
    with PatientGradients(model, names) as gradients:
        _rehearse(gradients, plan, source)


def _rehearse(gradients: PatientGradients, plan: StepPlan, source: PatientSource) -> None:
    """Run made-up patients: one, to see that the loss works; on a GPU a chunk, to see that it has the memory."""
    size = 1 if gradients.device.type == "cpu" else plan.patients_per_chunk
    _clipped(gradients, plan, source, [source.template], size)


def _with_noise(sums: Mapping[str, Tensor], plan: StepPlan, noise: NoiseSource) -> dict[str, Tensor]:
    """Add integers to integers: the noise's scale is at least noise_multiplier times the clip, both in units."""
    if plan.noise_multiplier == 0:
        return dict(sums)
    return {name: noise.integers(total.shape).to(total.device).add_(total) for name, total in sums.items()}


@contextmanager
def _restored(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Give the base weights of the named parameters, sorted, and put them back at the end."""
    parameters = dict(model.named_parameters())
    base = {name: parameters[name].detach().clone() for name in sorted(set(names))}
    try:
        yield base
    finally:
        with torch.no_grad():
            for name, value in base.items():
                parameters[name].copy_(value)


def _check_identifiers(patient_ids: Sequence[str]) -> None:
    if len(set(patient_ids)) != len(patient_ids):
        raise DataError(
            "patient_ids repeats an identifier, allowed is one entry a patient; merge their images"
        )
