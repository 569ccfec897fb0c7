"""How fast this machine does a study's work, measured on made-up patients and kept, so that no request changes it.

In: the study and the site's models and machine. Out: seconds, written below `state_dir`. No patient is read: what is
measured is as public as the machine.
"""

import hashlib
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from pydantic import Field, ValidationError
from torch import Tensor

from client.dp_sgd.private_steps import private_steps
from client.rounds.local_training import SitePatients
from client.site.device import working_on
from client.site.site import Site
from client.site.target_cache import TargetCache
from shared.code_digest import code_digest
from shared.config.study import StudyConfig
from shared.config.values import Frozen
from shared.data.images import load_pixels
from shared.data.patients import ImageRecord, Patient
from shared.distillation.targets import PatientViews, compute_readout_inputs, compute_targets, read_views
from shared.models.compact import CompactModel
from shared.models.teacher import Teacher
from shared.models.trainable import trainable_names
from shared.privacy.accountant import fresh_seconds
from shared.privacy.mechanisms import PoissonGaussian
from shared.privacy.noise import Coins, NoiseSource
from shared.privacy.step_plan import step_plan

FILM_SIDE = 1024  # pixels of a made-up film; hospitals with larger ones are told by `rounds-site check`
FILMS = 2  # of a made-up patient
T = TypeVar("T")
FORWARD_IMAGES = 8  # run together in an evaluation


class Speed(Frozen):
    """Seconds, each for one made-up patient, film, step or chunk."""

    load_seconds: float = Field(ge=0, description="teacher and compact model")
    account_seconds: float = Field(ge=0, description="what the whole study spends, by both accountants")
    film_seconds: float = Field(ge=0, description="reading one film")
    views_seconds: float = Field(ge=0, description="reading a patient's views")
    targets_seconds: float = Field(ge=0, description="what is computed once of a patient's views and kept")
    forward_seconds: float = Field(ge=0, description="a patient's images through the student")
    step_seconds: float = Field(ge=0, description="a private step of nobody: rehearsal and noise")
    chunk_seconds: float = Field(ge=0, description="a step of one whole chunk of patients")


def kept_speed(site: Site, study: StudyConfig) -> Speed:
    """Return the speed that was measured first for work of this form; measure where there is none.

    Two processes may measure at once: the first to have written is believed by both.
    """
    folder = site.config.state_dir / "speeds"
    path = folder / f"{_form(site, study)}.json"
    with suppress(OSError, ValidationError):
        return Speed.model_validate_json(path.read_bytes())
    speed = measured_speed(site, study)
    if not site.config.state_dir.is_dir():  # a check before the site's first answer begins nothing
        return speed
    folder.mkdir(exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part") as part:
        part.write(speed.model_dump_json().encode())
        part.flush()
        with suppress(FileExistsError):
            os.link(part.name, path)
    return Speed.model_validate_json(path.read_bytes())


def measured_speed(site: Site, study: StudyConfig) -> Speed:
    """Do each part of the work once on made-up patients, on the site's device and within its threads."""
    study = _with_noise(study)
    with working_on(site.config.compute) as device, _made_up_patient() as patient:
        loading, (compact, adapters, teacher) = _timed(
            lambda: (*site.compact(study), site.teacher(study).to(device))
        )
        compact, adapters = compact.to(device), adapters.to(device)
        compute_targets(teacher, read_views(patient, study), study)  # a device's first work takes longer
        images = torch.zeros(FORWARD_IMAGES, 3, study.task.image_size, study.task.image_size, device=device)
        with torch.inference_mode():
            forward, _ = _timed(lambda: compact(images).cpu())
        views_seconds, views = _timed(lambda: read_views(patient, study))
        targets = patient.images[0].file.with_name("targets.sqlite")
        with TargetCache(targets, secrets.token_bytes(32), study, lambda: teacher) as cache:
            source = _MadeUpPatients(SitePatients([], study, compact, adapters, cache, Coins.fresh()))
            chunk = site.config.compute.patients_per_chunk
            plan = replace(
                step_plan(study, 1, site.config.declared_patients, chunk), steps=1, sample_rate=1.0
            )
            names = trainable_names(compact, study.privacy.trainable)

            def step(num_patients: int) -> float:
                who = [str(number) for number in range(num_patients)]
                seconds, _ = _timed(
                    lambda: private_steps(
                        compact,
                        names,
                        plan,
                        patient_ids=who,
                        coins=Coins.fresh(),
                        noise=NoiseSource(),
                        source=source,
                    )
                )
                return seconds

            step(1)
            empty, full = step(0), step(chunk)
        return Speed(
            load_seconds=loading,
            account_seconds=_accounting(study),
            film_seconds=_timed(lambda: load_pixels(patient.images[0], study.task))[0],
            views_seconds=views_seconds,
            targets_seconds=_timed(lambda: _computed_once(teacher, compact, views, study))[0],
            forward_seconds=forward,
            step_seconds=empty,
            chunk_seconds=full,
        )


def _computed_once(teacher: Teacher, compact: CompactModel, views: PatientViews, study: StudyConfig) -> None:
    compute_targets(teacher, views, study)
    if study.only_readout_trains:
        compute_readout_inputs(compact, views)


class _MadeUpPatients:
    """Patients that all are the template."""

    def __init__(self, source: SitePatients) -> None:
        self._source = source

    @property
    def template(self) -> Mapping[str, Tensor]:
        return self._source.template

    def load(self, patient: int, step: int) -> Mapping[str, Tensor]:  # noqa: ARG002 - PatientSource asks by number, and all are the same
        return self.template

    def losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self._source.losses(batch)


@contextmanager
def _made_up_patient() -> Iterator[Patient]:
    """Give a patient of noisy films, which no codec makes small."""
    grey = np.random.default_rng(0).integers(0, 256, (FILM_SIDE, FILM_SIDE), np.uint8)
    with tempfile.TemporaryDirectory(prefix="rounds-speed-") as scratch:
        files = [Path(scratch) / f"{number}.png" for number in range(FILMS)]
        for file in files:
            Image.fromarray(grey).save(file)
        yield Patient(
            "made-up", tuple(ImageRecord(file, 0, "made-up", "made-up", "train", None) for file in files)
        )


def _with_noise(study: StudyConfig) -> StudyConfig:
    """Put a noise multiplier where the hub has not calibrated one yet: how much it is takes no time."""
    privacy = study.privacy
    if privacy.noise_multiplier is not None:
        return study
    return study.model_copy(update={"privacy": privacy.model_copy(update={"noise_multiplier": 1.0})})


def _accounting(study: StudyConfig) -> float:
    privacy, rules = study.privacy, study.federation
    whole = PoissonGaussian(
        noise_multiplier=privacy.noise_multiplier or 1.0,
        sample_rate=privacy.sample_rate,
        steps=rules.rounds * rules.steps,
    )
    return fresh_seconds([whole], privacy.delta)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _form(site: Site, study: StudyConfig) -> str:
    """Name what the speed hangs on: models, images, machine and code, but neither patients nor privacy's numbers."""
    parts = {
        "study": study.model_dump(mode="json", include={"task", "models", "distillation"}),
        "trainable": study.privacy.trainable,
        "compute": site.config.compute.model_dump(mode="json"),
        "code": code_digest(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
