"""Rules of deterministic views."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.config.study import Task
from shared.data.patients import ImageRecord, Patient
from shared.data.views import patient_views, view
from shared.errors import DataError

TASK = Task(classes=("normal", "pneumonia"), image_size=32)
PIXELS = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def patient(folder: Path, num_images: int, labels: tuple[int, ...] = (0, 1, 0)) -> Patient:
    """Make a patient with small random pictures."""
    records = []
    for i in range(num_images):
        pixels = np.random.default_rng(i).integers(0, 256, (32, 32), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        records.append(ImageRecord(folder / f"{i}.png", labels[i], "a", "p1", "train", None))
    return Patient("p1", tuple(records))


def test_view_0_is_the_image() -> None:
    """View 0 is the identity."""
    np.testing.assert_array_equal(view(PIXELS, "p", 0, flip=True), PIXELS)


def test_a_view_is_a_function_of_patient_and_number() -> None:
    """The same patient and number give the same view; another number or patient gives another."""
    first = view(PIXELS, "p", 1, flip=False)
    np.testing.assert_array_equal(first, view(PIXELS, "p", 1, flip=False))
    assert (first != view(PIXELS, "p", 2, flip=False)).any()
    assert (first != view(PIXELS, "q", 1, flip=False)).any()


def test_views_mirror_only_when_allowed() -> None:
    """Over many views a mark at the right is mirrored about half the time with flip, and never without."""
    marked = np.full((32, 32, 3), 90, np.uint8)
    marked[12:20, 24:30] = 250

    def mirrored(flip: bool) -> int:
        seen = [view(marked, f"p{i}", 1, flip=flip)[..., 0].astype(int) for i in range(60)]
        return sum(int(v[8:24, :12].max() > 200) for v in seen)

    assert mirrored(flip=False) == 0
    assert 15 <= mirrored(flip=True) <= 45


def test_views_stay_near_the_image() -> None:
    """A view moves a central mark by a few pixels at most and keeps its grey within the gamma's range."""
    marked = np.full((64, 64, 3), 60, np.uint8)
    marked[29:35, 29:35] = 200
    for i in range(40):
        y, x = np.argwhere(view(marked, f"p{i}", 1, flip=False)[..., 0] > 140).mean(axis=0)
        assert np.hypot(y - 31.5, x - 31.5) <= 0.05 * 64 * np.sqrt(2) + 0.7


def test_view_k_shows_image_k_mod_n_unchanged_while_there_are_new_ones(tmp_path: Path) -> None:
    """With 2 images and 4 views: image 0, image 1, then both again augmented; labels go along."""
    views, labels = patient_views(patient(tmp_path, 2), TASK, 4)
    assert views.shape == (4, 32, 32, 3)
    assert labels.tolist() == [0, 1, 0, 1]
    for i in range(2):
        np.testing.assert_array_equal(views[i, ..., 0], np.asarray(Image.open(tmp_path / f"{i}.png")))
        np.testing.assert_array_equal(views[i + 2], view(views[i], "p1", i + 2, flip=False))


def test_fewer_views_than_images_read_no_more_than_needed(tmp_path: Path) -> None:
    """With 1 view of 2 images the second image is not opened."""
    found = patient(tmp_path, 2)
    (tmp_path / "1.png").unlink()
    assert patient_views(found, TASK, 1)[0].shape == (1, 32, 32, 3)
    with pytest.raises(DataError):
        patient_views(found, TASK, 2)
