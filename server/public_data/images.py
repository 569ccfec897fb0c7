"""Public images in memory: the cohort, the reference set and the test set, as the hub works with them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shared.config.study import Task
from shared.data.ahead import ahead
from shared.data.images import load_pixels, normalise
from shared.data.patients import Patient

Progress = Callable[[str, int, int], None]  # what, done, of how many


@dataclass(frozen=True)
class PublicImages:
    """N public images: pixels uint8 (N, H, W, 3), labels (N,), patient numbers (N,), names of origin (N,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    patients: NDArray[np.int64]
    patient_ids: tuple[str, ...]
    sites: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def only(self, rows: NDArray[np.int64]) -> "PublicImages":
        """Keep some of the images, in the order of `rows`."""
        return PublicImages(
            self.pixels[rows],
            self.labels[rows],
            self.patients[rows],
            tuple(self.patient_ids[row] for row in rows),
            tuple(self.sites[row] for row in rows),
        )


def load_public(patients: Sequence[Patient], task: Task) -> PublicImages:
    """Read all images of public patients; `DataError` on the first that cannot be read."""
    images = [(number, image) for number, patient in enumerate(patients) for image in patient.images]
    size = task.image_size
    pixels = np.empty((len(images), size, size, 3), np.uint8)
    opened = ahead(partial(load_pixels, task=task), (image for _, image in images))
    for row, one in enumerate(opened):
        pixels[row] = one
    return PublicImages(
        pixels,
        np.array([image.label for _, image in images], np.int64),
        np.array([number for number, _ in images], np.int64),
        tuple(patients[number].patient_id for number, _ in images),
        tuple(image.site for _, image in images),
    )


def tensors(pixels: NDArray[np.uint8]) -> Tensor:
    """Normalise a batch of pixels: float32 (N, 3, H, W)."""
    return torch.stack([normalise(one) for one in pixels])


def predict_logits(model: nn.Module, images: PublicImages, batch_size: int = 64) -> NDArray[np.float64]:
    """Return the model's logits (N, C) on public images, in evaluation mode, restored afterwards."""
    training = model.training
    model.eval()
    with torch.inference_mode():
        parts = [model(tensors(batch)).double().numpy() for batch in _batches(images.pixels, batch_size)]
    model.train(training)
    return np.concatenate(parts)


def softmax(logits: NDArray[np.float64], temperature: float = 1.0) -> NDArray[np.float64]:
    """Return probabilities (N, C) at a temperature."""
    scaled = logits / temperature
    exponents = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _batches(pixels: NDArray[np.uint8], size: int) -> Iterator[NDArray[np.uint8]]:
    for start in range(0, len(pixels), size):
        yield pixels[start : start + size]
