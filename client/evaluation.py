"""A site's own evaluation of the global student: noised counts, and nothing else of its patients.

Each evaluation patient is one bounded vector: the mean, over the patient's images, of a one-hot confusion
matrix (class x predicted class). Its L2 norm is at most 1, so the sum changes by at most 1 when a patient
comes or goes. A patient that cannot be read, that the model fails on, or whose logits are not finite, is the zero
vector.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from shared.config import Task
from shared.data.images import load_pixels, normalise
from shared.data.records import Patient
from shared.models.compact import CompactModel
from shared.privacy.noise import NoiseSource


def noised_confusion(
    model: CompactModel, patients: Sequence[Patient], task: Task, noise_multiplier: float, noise: NoiseSource
) -> NDArray[np.float32]:
    """Return the noised confusion counts (C, C): the sum of the patients' vectors plus Gaussian noise.

    Raises whatever the model raises for a made-up image: a mistake that is no patient's stops here.
    """
    with torch.inference_mode():
        model(torch.zeros(1, 3, task.image_size, task.image_size))
    num_classes = len(task.classes)
    total = np.zeros((num_classes, num_classes))
    for patient in patients:
        total += patient_confusion(model, patient, task)
    noised: NDArray[np.float32] = (total + noise.gaussian(total.shape, noise_multiplier).numpy()).astype(
        np.float32
    )
    return noised


def patient_confusion(model: CompactModel, patient: Patient, task: Task) -> NDArray[np.float64]:
    """Return one patient's share of each cell, (C, C), non-negative, summing to 1 or 0."""
    cells = np.zeros((len(task.classes), len(task.classes)))
    try:
        images = torch.stack([normalise(load_pixels(image, task)) for image in patient.images])
        with torch.inference_mode():
            logits = model(images)
    except Exception:  # noqa: BLE001 - whatever is wrong with one patient must not show in the answer
        return cells
    if not bool(torch.isfinite(logits).all()):
        return cells
    for image, predicted in zip(patient.images, logits.argmax(dim=1).tolist(), strict=True):
        cells[image.label, predicted] += 1 / len(patient.images)
    return cells
