"""What holds of a site's work on any device, as checks that take it: run by `tests/client/site/test_device.py`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from client.dp_sgd.private_steps import clipped_sum_for_step, private_steps
from client.rounds.answer import answer
from client.rounds.local_evaluation import noised_confusion
from client.rounds.local_training import SitePatients
from shared.distillation.targets import compute_targets, read_views
from shared.errors import ErrorCode
from shared.messages.releases import decode_release
from shared.models.trainable import trainable_names
from shared.privacy.noise import Coins, NoiseSource
from shared.privacy.step_plan import StepPlan, step_plan
from tests.conftest import TinyFederation

COINS = Coins(b"c" * 32)
SILENT = b"s" * 32
Check = Callable[[torch.device, TinyFederation, Path], None]


class Work:
    """A site's training patients and models on a device; `which` names some of the patients by place."""

    def __init__(self, device: torch.device, federation: TinyFederation, folder: Path) -> None:
        self.study = federation.study
        self.site = federation.site("film", folder)
        compact, adapters = self.site.compact(self.study)
        self.compact, self.adapters = compact.to(device), adapters.to(device)
        self.names = trainable_names(compact, self.study.privacy.trainable)
        self.patients = self.site.partitions(self.study)["train"]

    def plan(self, **changed: Any) -> StepPlan:
        return replace(step_plan(self.study, 1, 4, patients_per_chunk=3), sample_rate=1.0, **changed)

    def clipped_sum(self, num_patients: int) -> dict[str, torch.Tensor]:
        """Return the clipped sum of a step with the first so many patients."""
        some = self.patients[:num_patients]
        with self.site.target_cache(self.study) as cache:
            return clipped_sum_for_step(
                self.compact, self.names, self.plan(), patient_ids=[one.patient_id for one in some], coins=COINS,
                source=SitePatients(some, self.study, self.compact, self.adapters, cache, COINS), step=0,
            )  # fmt: skip

    def update(self, **changed: Any) -> dict[str, torch.Tensor]:
        """Take the steps of a round."""
        with self.site.target_cache(self.study) as cache:
            return private_steps(
                self.compact, self.names, self.plan(**changed), noise=NoiseSource(), coins=COINS,
                patient_ids=[one.patient_id for one in self.patients],
                source=SitePatients(self.patients, self.study, self.compact, self.adapters, cache, COINS),
            )  # fmt: skip


def clipped_sums_are_the_cpus(device: torch.device, federation: TinyFederation, folder: Path) -> None:
    """Clip a step's sum on the device; it is the CPU's up to rounding, and keeps the clip."""
    there, here = Work(device, federation, folder / "a"), Work(torch.device("cpu"), federation, folder / "b")
    for num_patients in (0, 1, 4):  # none, a part of a chunk, a chunk and a part
        sums, expected = there.clipped_sum(num_patients), here.clipped_sum(num_patients)
        assert {total.device.type for total in sums.values()} == {device.type}
        close(sums, expected)
    norm = float(torch.cat([total.cpu().flatten() for total in there.clipped_sum(1).values()]).norm())
    assert norm <= there.plan().max_grad_norm


def updates_are_the_cpus(device: torch.device, federation: TinyFederation, folder: Path) -> None:
    """Without noise the steps of a round come to the CPU's update up to rounding."""
    there, here = Work(device, federation, folder / "a"), Work(torch.device("cpu"), federation, folder / "b")
    close(there.update(noise_multiplier=0.0), here.update(noise_multiplier=0.0))


def noise_has_its_measure(device: torch.device, federation: TinyFederation, folder: Path) -> None:
    """Noise that drowns the gradients has the formula's standard deviation in the update, within 5 percent."""
    work = Work(device, federation, folder)
    plan = work.plan(noise_multiplier=1e4, momentum=0.0)
    update = work.update(noise_multiplier=1e4, momentum=0.0)
    values = torch.cat([part.cpu().flatten() for part in update.values()])
    std = plan.learning_rate * 1e4 * plan.max_grad_norm / plan.normaliser * plan.steps**0.5
    assert len(values) > 3000
    assert abs(float(values.std()) / std - 1) < 0.05


def targets_are_the_cpus(device: torch.device, federation: TinyFederation, folder: Path) -> None:
    """Compute targets with a teacher on the device: they are on the CPU, equal up to rounding."""
    site, study = federation.site("film", folder), federation.study
    views = read_views(site.partitions(study)["train"][0], study)
    here, there = (compute_targets(site.teacher(study).to(d), views, study) for d in ("cpu", device))
    for found, expected in zip((there.logits, *there.features), (here.logits, *here.features), strict=True):
        assert found.device.type == "cpu"
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-4)  # features are float16


def counts_are_the_cpus(device: torch.device, federation: TinyFederation, folder: Path) -> None:
    """Without noise the counts of evaluation patients are the CPU's."""
    work = Work(device, federation, folder)
    patients, task = work.site.partitions(work.study)["evaluation"], work.study.task
    silent = NoiseSource.seeded_without_privacy(SILENT)
    found = noised_confusion(work.compact, patients, task, 0.0, silent)
    expected = noised_confusion(work.compact.cpu(), patients, task, 0.0, silent)
    assert found.sum() > 1
    np.testing.assert_array_equal(found, expected)


def a_whole_study_is_answered(device: torch.device, federation: TinyFederation, folder: Path) -> None:
    """Enrolment, training and evaluation are answered with releases of the declared kinds, finite and on the CPU."""
    site = federation.site("film", folder)
    with working_there(device):
        for kind, part, shapes in (
            ("enrol", "enrolment", None),
            ("train", "update", federation.shapes),
            ("evaluate", "evaluation", {"confusion": (2, 2)}),
        ):
            parts = answer(site, federation.request(kind, 0 if kind == "enrol" else 1))  # type: ignore[arg-type]
            release = decode_release(parts[part], shapes, kinds=(part,))  # type: ignore[arg-type]
            assert all(np.isfinite(array).all() for array in release.arrays.values())
            assert all(array.dtype == np.float32 for array in release.arrays.values())


def working_there(device: torch.device) -> Any:
    """Let `site.yaml` ask for a device that it cannot name."""
    found = mock.Mock(return_value=device)
    return mock.patch.multiple("client.site.device", find_device=found)


def code(parts: dict[str, bytes]) -> ErrorCode:
    """Return the code of an answer that is an error and nothing else."""
    assert set(parts) == {"error"}, set(parts)
    fields: Any = decode_release(parts["error"], kinds=("error",)).fields
    return ErrorCode(fields.code)


def close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """Compare by the norm of the whole, as the clip does."""
    one, other = (
        torch.cat([t.cpu().double().flatten() for _, t in sorted(d.items())]) for d in (found, expected)
    )
    assert float((one - other).norm()) <= 1e-4 * float(other.norm()) + 1e-12


CHECKS: tuple[Check, ...] = (
    clipped_sums_are_the_cpus,
    updates_are_the_cpus,
    noise_has_its_measure,
    targets_are_the_cpus,
    counts_are_the_cpus,
    a_whole_study_is_answered,
)
