"""Evaluation counts: one bounded vector a patient, summed and noised."""

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from client.rounds import local_evaluation as evaluation
from client.rounds.local_evaluation import noised_confusion, patient_confusion
from shared.config.study import Task
from shared.data.images import load_pixels
from shared.data.patients import ImageRecord, Patient
from shared.privacy.noise import NoiseSource

TASK = Task(classes=("dark", "bright", "other"), image_size=32)


class Brightness(nn.Module):
    """Says bright (1) or dark (0) by the mean pixel; not finite for an image of the wrong kind."""

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(dim=(1, 2, 3))
        logits = torch.stack([-mean, mean, torch.full_like(mean, -99.0)], dim=1)
        return torch.where(mean.view(-1, 1) > 2, torch.nan, logits)


def patient(folder: Path, name: str, images: list[tuple[int, int]]) -> Patient:
    """Write images of (grey, label), each with one pixel of another grey, and return their patient."""
    records = []
    for number, (grey, label) in enumerate(images):
        pixels = np.full((32, 32), grey, np.uint8)
        pixels[0, 0] = 128
        file = folder / f"{name}-{number}.png"
        Image.fromarray(pixels).save(file)
        records.append(ImageRecord(file, label, "north", name, "val", None))
    return Patient(name, tuple(records))


def test_one_patient_by_hand(tmp_path: Path) -> None:
    """Each image adds 1 / (number of images) to its (class, predicted class) cell."""
    given = patient(tmp_path, "p", [(20, 0), (200, 1), (200, 0), (200, 0)])
    cells = patient_confusion(Brightness(), given, TASK)
    assert cells.tolist() == [[0.25, 0.5, 0], [0, 0.25, 0], [0, 0, 0]]


@pytest.mark.parametrize("num_images", [1, 2, 3, 7, 50])
def test_a_patient_weighs_at_most_one(tmp_path: Path, num_images: int) -> None:
    """However many images and mistakes, a patient's vector has L2 norm at most 1 and no negative cell."""
    generator = np.random.default_rng(num_images)
    images = [(int(generator.choice([20, 200])), int(generator.integers(3))) for _ in range(num_images)]
    cells = patient_confusion(Brightness(), patient(tmp_path, "p", images), TASK)
    assert cells.min() >= 0
    assert np.linalg.norm(cells) <= 1 + 1e-12
    assert cells.sum() == pytest.approx(1)


def test_a_patient_that_cannot_be_counted_is_zero(tmp_path: Path) -> None:
    """An unreadable or missing image, or logits that are not finite, makes the whole patient zero."""
    good = patient(tmp_path, "p", [(20, 0), (200, 1)])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for file in (tmp_path / "broken.png", tmp_path / "missing.png"):
        broken = Patient("p", (good.images[0], replace(good.images[1], file=file)))
        assert not patient_confusion(Brightness(), broken, TASK).any()
    overflowing = patient(tmp_path, "q", [(20, 0), (255, 1)])
    assert not patient_confusion(Brightness(), overflowing, TASK).any()


@pytest.mark.parametrize("error", [RuntimeError, zlib.error, MemoryError, KeyError])
def test_whatever_fails_for_one_patient_counts_nothing(
    tmp_path: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any error while one patient is read makes that patient zero and leaves the others as they are."""
    patients = [patient(tmp_path, name, [(20, 0)]) for name in "abc"]
    silent = NoiseSource.seeded_without_privacy(b"k" * 32)
    rest = noised_confusion(Brightness(), patients[:2], TASK, 0.0, silent)

    def read(image: ImageRecord, task: Task) -> np.ndarray:
        if image.patient_id == "c":
            raise error("planted")
        return load_pixels(image, task)

    monkeypatch.setattr(evaluation, "load_pixels", read)
    np.testing.assert_array_equal(noised_confusion(Brightness(), patients, TASK, 0.0, silent), rest)


def test_a_mistake_that_is_no_patients_is_raised(tmp_path: Path) -> None:
    """A model that fails on every image stops before a patient is read, instead of sending noise alone."""
    with pytest.raises(RuntimeError):
        noised_confusion(nn.Linear(7, 3), [patient(tmp_path, "p", [(20, 0)])], TASK, 0.0, NoiseSource())


def test_the_sum_plus_noise(tmp_path: Path) -> None:
    """What leaves is the sum of the vectors plus Gaussian noise of standard deviation noise_multiplier."""
    patients = [patient(tmp_path, f"p{n}", [(20, 0), (200, n % 2)]) for n in range(5)]
    key = b"k" * 32
    found = noised_confusion(Brightness(), patients, TASK, 4.0, NoiseSource.seeded_without_privacy(key))
    total = sum(patient_confusion(Brightness(), one, TASK) for one in patients)
    noise = NoiseSource.seeded_without_privacy(key).gaussian((3, 3), 4.0).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, total + noise, rtol=1e-6)
    assert np.abs(noise).min() > 0


def test_one_patient_moves_the_sum_by_at_most_one(tmp_path: Path) -> None:
    """Taking any patient away, readable or not, moves the sum by at most 1 in L2."""
    patients = [patient(tmp_path, f"p{n}", [(20, n % 3)] * (n + 1)) for n in range(4)]
    patients.append(patient(tmp_path, "overflowing", [(255, 1)]))
    silent = NoiseSource.seeded_without_privacy(b"k" * 32)
    whole = noised_confusion(Brightness(), patients, TASK, 0.0, silent)
    for left_out in range(len(patients)):
        rest = patients[:left_out] + patients[left_out + 1 :]
        moved = whole - noised_confusion(Brightness(), rest, TASK, 0.0, silent)
        assert np.linalg.norm(moved) <= 1 + 1e-6


def test_nobody_still_gives_noise() -> None:
    """A site without evaluation patients sends noise like any other."""
    assert noised_confusion(Brightness(), [], TASK, 4.0, NoiseSource()).all()
