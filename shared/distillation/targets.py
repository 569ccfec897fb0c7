"""Teacher targets of one patient: what the frozen teacher says of the patient's own views.

One patient at a time, so that no target depends on who else is there (batch composition changes the last
bits). Features are kept in float16: a target is always the rounded one, cached or recomputed. Targets are
patient data: they stay at the site.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.config.study import StudyConfig
from shared.data.images import normalise
from shared.data.patients import Patient
from shared.data.views import patient_views
from shared.distillation.objective import Targets, method_terms
from shared.models.compact import CompactModel
from shared.models.readout import STAGE_CHANNELS
from shared.models.teacher import Teacher


@dataclass(frozen=True)
class PatientViews:
    """K views of one patient: pixels uint8 (K, H, W, 3) and labels (K,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def images(self, which: tuple[int, ...]) -> Tensor:
        """Normalised images (len(which), 3, H, W) of the views asked for."""
        return torch.stack([normalise(self.pixels[k]) for k in which])


@dataclass(frozen=True)
class ReadoutInputs:
    """What the frozen part of a compact model says of N views: logits (N, C) float32 and pooled maps (N, D) float16."""

    logits: Tensor
    pooled: Tensor


def needs_features(study: StudyConfig) -> bool:
    """Tell whether sites need the teacher's features: not where only a readout learns, which changes no feature."""
    return method_terms(study.distillation).uses_features and not study.only_readout_trains


def read_views(patient: Patient, study: StudyConfig) -> PatientViews:
    """Read and augment the patient's K views; `DataError` when an image cannot be used."""
    pixels, labels = patient_views(patient, study.task, study.distillation.num_views)
    return PatientViews(pixels, labels.astype(np.int64))


def compute_targets(teacher: Teacher, views: PatientViews, study: StudyConfig) -> Targets:
    """Run the teacher, where it is, on all K views of one patient; targets are on the CPU.

    Logits are (K, C) float32, features float16.
    """
    images = views.images(tuple(range(len(views.pixels)))).to(next(teacher.parameters()).device)
    with torch.inference_mode():
        if not needs_features(study):
            return Targets(teacher(images).cpu().clone())
        logits, features = teacher.features(images)
        return Targets(logits.cpu().clone(), tuple(feature.to(torch.float16).cpu() for feature in features))


def compute_readout_inputs(compact: CompactModel, views: PatientViews) -> ReadoutInputs:
    """Run the frozen part of a compact model, where it is, on all K views of one patient; the result is on the CPU."""
    images = views.images(tuple(range(len(views.pixels)))).to(next(compact.parameters()).device)
    with torch.inference_mode():
        logits, pooled = compact.readout_inputs(images)
    return ReadoutInputs(logits.float().cpu().clone(), pooled.to(torch.float16).cpu().clone())


def pick(targets: Targets, which: tuple[int, ...]) -> Targets:
    """Targets of some of the views, features as float32."""
    rows = list(which)
    return Targets(targets.logits[rows], tuple(feature[rows].float() for feature in targets.features))


def stack(targets: list[Targets]) -> Targets:
    """Join the targets of several patients along the view axis."""
    features = zip(*(one.features for one in targets), strict=True)
    return Targets(torch.cat([one.logits for one in targets]), tuple(torch.cat(layer) for layer in features))


def forecast_bytes(teacher: Teacher, study: StudyConfig, num_patients: int) -> int:
    """Bytes that the targets of so many patients take in the cache, before encryption's few bytes each."""
    views = PatientViews(
        np.zeros((study.distillation.num_views, study.task.image_size, study.task.image_size, 3), np.uint8),
        np.zeros(study.distillation.num_views, np.int64),
    )
    one = compute_targets(teacher, views, study)
    parts = [one.logits, *one.features]
    readout = study.models.readout
    if study.only_readout_trains and readout is not None:
        width = STAGE_CHANNELS[readout.stage] * readout.grid**2
        parts += [one.logits, torch.empty(study.distillation.num_views, width, dtype=torch.float16)]
    return num_patients * sum(part.nbytes for part in parts)
