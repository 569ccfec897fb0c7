"""Rules of reading MedMNIST files and of making sites of them."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.config.study import Task
from shared.data.images import check_images, load_pixels
from shared.data.medmnist import made_sites
from shared.data.patients import SPLITS
from shared.data.sources import describe_source, patients_by_site, read_source
from shared.errors import DataError

TASK = Task(classes=("normal", "pneumonia"), image_size=64)


def npz(path: Path, num_train: int = 6, **changes: np.ndarray) -> Path:
    """Write a small file of MedMNIST's layout: train, 3 val, 2 test, labels alternating."""
    random = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", num_train), ("val", 3), ("test", 2)):
        arrays[f"{split}_images"] = random.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 2)[:, None]
    np.savez_compressed(path, **(arrays | changes))
    return path


def test_each_image_is_a_patient_with_its_own_pixels(tmp_path: Path) -> None:
    """Every image becomes a patient mnist-<split>-<index>, and its record loads that row, enlarged."""
    path = npz(tmp_path / "a.npz")
    patients = read_source(path, TASK)
    assert [p.patient_id for p in patients][:3] == [
        "mnist-test-000000",
        "mnist-test-000001",
        "mnist-train-000000",
    ]
    assert [p.label for p in patients if p.split == "train"] == [0, 1, 0, 1, 0, 1]
    small = load_pixels(patients[3].images[0], TASK.model_copy(update={"image_size": 28}))
    np.testing.assert_array_equal(small[..., 0], np.load(path)["train_images"][1])
    assert load_pixels(patients[3].images[0], TASK).shape == (64, 64, 3)
    assert check_images(patients, TASK).kinds == {}


def test_repeats_in_train_and_train_images_of_val_and_test_are_left_out(tmp_path: Path) -> None:
    """The first of equal train images stays; a train image that stands in val or test goes."""
    source = np.load(npz(tmp_path / "a.npz"))
    train = source["train_images"].copy()
    train[3], train[4], train[5] = train[1], source["val_images"][0], source["test_images"][1]
    patients = read_source(npz(tmp_path / "b.npz", train_images=train), TASK)
    assert [p.patient_id[-1] for p in patients if p.split == "train"] == ["0", "1", "2"]
    assert len(patients) == 3 + 3 + 2


def test_reports_are_told_what_the_file_lacks(tmp_path: Path) -> None:
    """The notes say that patients are images and that sites are made."""
    notes = " ".join(describe_source(npz(tmp_path / "a.npz"), TASK))
    assert "each image counts as a patient" in notes
    assert "sites in this study were made, not found" in notes


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_labels": np.full((6, 1), 7)}, "label is 7 in .*, allowed is 0 to 1"),
        ({"train_labels": np.zeros((6, 14))}, "14 labels an image"),
        ({"train_labels": np.full((6, 1), "normal")}, "train_labels of .* holds <U6 that is no class number"),
        ({"train_labels": np.full((6, 1), 0.5)}, "holds float64 that is no class number"),
        ({"val_images": np.zeros((3, 28, 28))}, "val_images of .* is float64 of shape"),
        ({"test_images": np.zeros((2, 28), np.uint8)}, "test_images of .* is uint8 of shape"),
        ({"train_labels": np.zeros((5, 1))}, "5 rows, needed is one for each of 6"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, changes: dict[str, np.ndarray], sentence: str
) -> None:
    """Labels beyond the classes, several labels an image or too few rows are refused in one sentence."""
    with pytest.raises(DataError, match=sentence):
        read_source(npz(tmp_path / "a.npz", **changes), TASK)


def test_an_npz_of_another_layout_is_refused(tmp_path: Path) -> None:
    """A file without MedMNIST's arrays is refused with the names it needs."""
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="needed is a MedMNIST"):
        read_source(tmp_path / "a.npz", TASK)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damaged(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[200:1200] = bytes(1000)  # in the first array's compressed bytes
    path.write_bytes(whole)


def no_archive(path: Path) -> None:
    np.save(path.with_suffix(".npy"), np.zeros(3))
    path.with_suffix(".npy").replace(path)


def text(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for split in SPLITS:
            archive.writestr(f"{split}_images", "no array")


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut, damaged, no_archive, text, empty])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    """A file that is cut, damaged, empty or no archive of arrays is refused when it is read, and as one image."""
    path = npz(tmp_path / "a.npz")
    record = read_source(npz(tmp_path / "whole.npz"), TASK)[2].images[0]
    harm(path)
    with pytest.raises(DataError, match="needed is a MedMNIST"):
        read_source(path, TASK)
    with pytest.raises(DataError, match="needed is a MedMNIST"):
        load_pixels(replace(record, file=path), TASK)


def test_made_sites_are_skewed_and_lose_nobody(tmp_path: Path) -> None:
    """Skew 0 deals each class evenly, a large skew gives sites of unlike class shares; no patient is lost."""
    patients = read_source(npz(tmp_path / "a.npz", num_train=2000), TASK)

    def shares(skew: float) -> list[float]:
        dealt = patients_by_site(made_sites(patients, 4, 1, skew))
        assert sum(map(len, dealt.values())) == len(patients)
        return [sum(p.label for p in found) / len(found) for found in dealt.values()]

    assert np.ptp(shares(0)) < 0.12
    assert np.ptp(shares(4)) > 0.4


def test_a_patients_made_site_does_not_depend_on_others(tmp_path: Path) -> None:
    """Dealing only every second patient gives each of them the same site."""
    patients = read_source(npz(tmp_path / "a.npz", num_train=60), TASK)
    assert made_sites(patients, 3, 1, 1.0)[::2] == made_sites(patients[::2], 3, 1, 1.0)


def test_a_folder_with_one_file_is_that_file(tmp_path: Path) -> None:
    """A folder that holds just one MedMNIST file reads as the file itself, and reports are told the same."""
    path = npz(tmp_path / "a.npz")
    assert read_source(tmp_path, TASK, site="one") == read_source(path, TASK, site="one")
    assert describe_source(tmp_path, TASK) == describe_source(path, TASK)
