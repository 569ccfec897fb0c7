"""A site's own evaluation of the global student: noised counts, and nothing else of its patients.

Each evaluation patient is one bounded vector: the mean, over the patient's images, of a one-hot confusion
matrix (class x predicted class). Its L2 norm is at most 1, so the sum changes by at most 1 when a patient
comes or goes. A patient that cannot be read, that the model fails on, or whose logits are not finite, is the zero
vector. The model runs where it is; on a GPU what it fails on is the machine's fault and ends the evaluation.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.site.device import one_thread
from shared.config.study import Task
from shared.data.images import load_pixels, normalise
from shared.data.patients import Patient
from shared.models.compact import CompactModel
from shared.privacy.grid import Grid
from shared.privacy.noise import NoiseSource

IMAGES_AT_ONCE = 8  # whatever a patient brings, no more memory is taken than by the made-up images


def noised_confusion(
    model: CompactModel, patients: Sequence[Patient], task: Task, noise_multiplier: float, noise: NoiseSource
) -> NDArray[np.float32]:
    """Return the noised confusion counts (C, C): the sum of the patients' vectors plus Gaussian noise.

    Raises whatever the model raises for made-up images: a mistake that is no patient's stops here.
    """
    with one_thread():
        return _noised_confusion(model, patients, task, noise_multiplier, noise)


def _noised_confusion(
    model: CompactModel, patients: Sequence[Patient], task: Task, noise_multiplier: float, noise: NoiseSource
) -> NDArray[np.float32]:
    _logits(model, torch.zeros(IMAGES_AT_ONCE, 3, task.image_size, task.image_size))
    num_classes = len(task.classes)
    grid = Grid.of(noise_multiplier, 1.0)
    total = np.zeros((num_classes, num_classes), dtype=np.int64)
    for patient in patients:
        # whole units of the noise's own grid, rounded towards 0: the vector does not get longer
        total += np.floor(patient_confusion(model, patient, task) * grid.clip_units).astype(np.int64)
    if noise_multiplier > 0:
        total += noise.integers(total.shape).numpy()
    return (total * grid.unit).astype(np.float32)


def patient_confusion(model: CompactModel, patient: Patient, task: Task) -> NDArray[np.float64]:
    """Return one patient's share of each cell, (C, C), non-negative, summing to 1 or 0."""
    cells = np.zeros((len(task.classes), len(task.classes)))
    try:
        images = torch.stack([normalise(load_pixels(image, task)) for image in patient.images])
    except Exception:  # noqa: BLE001 - whatever is wrong with one patient must not show in the answer
        return cells
    try:
        logits = torch.cat([_logits(model, part) for part in torch.split(images, IMAGES_AT_ONCE)])
    except Exception:
        if (
            _device_of(model).type != "cpu"
        ):  # no patient's values raise there: see client.dp_sgd.private_steps
            raise
        return cells
    if not bool(torch.isfinite(logits).all()):
        return cells
    for image, predicted in zip(patient.images, logits.argmax(dim=1).tolist(), strict=True):
        cells[image.label, predicted] += 1
    return cells / len(patient.images)


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """Run the model where it is; images (N, 3, H, W) and logits (N, C) are on the CPU."""
    with torch.inference_mode():
        logits: Tensor = model(images.to(_device_of(model)))
        return logits.cpu()


def _device_of(model: nn.Module) -> torch.device:
    return next((one.device for one in model.parameters()), torch.device("cpu"))
