"""Pictures are compared by what they hold, not by what they are called."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.data.patients import ImageRecord, Patient
from shared.data.same_pictures import same_pictures
from tests.dicom_files import dicom_file


def drawn(path: Path, seed: int = 0) -> Path:
    """Draw a small picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 16), np.uint8)).save(path)
    return path


def patient(name: str, *files: Path, label: int = 0, index: int | None = None) -> Patient:
    """Return a patient with images of one label."""
    return Patient(name, tuple(ImageRecord(file, label, "s", name, "train", None, index) for file in files))


def test_a_copy_under_another_patient_or_label_is_found(tmp_path: Path) -> None:
    """Under another name; a patient's own copy of one label is no matter, and one of another label is."""
    one, two = drawn(tmp_path / "a.png"), drawn(tmp_path / "b.png", 1)
    copy = Path(shutil.copyfile(one, tmp_path / "c.png"))
    link = tmp_path / "d.png"
    link.symlink_to(two)
    assert same_pictures([patient("p", one, copy), patient("q", two)]) == []
    (found,) = same_pictures([patient("p", one), patient("q", copy, two)])
    assert (found.num_patients, found.num_labels, found.num_files) == (2, 1, 2)
    (found,) = same_pictures([patient("q", link), patient("p", two)])
    assert [record.patient_id for record in found.records] == ["p", "q"]
    other = replace(patient("p", copy, label=1).images[0])
    (found,) = same_pictures([Patient("p", (*patient("p", one).images, other))])
    assert (found.num_patients, found.num_labels) == (1, 2)


def test_equal_length_is_not_equal_content(tmp_path: Path) -> None:
    """Two bitmaps of one size have as many bytes and are two pictures."""
    files = [drawn(tmp_path / f"{seed}.bmp", seed) for seed in (1, 2)]
    assert files[0].stat().st_size == files[1].stat().st_size
    assert same_pictures([patient(str(n), file) for n, file in enumerate(files)]) == []


def test_rows_of_an_npz_and_pixels_of_dicom(tmp_path: Path) -> None:
    """The header of a DICOM file differs where its patient does, and rows of an .npz share a file."""
    pixels = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)
    pixels[2] = pixels[0]
    np.savez(tmp_path / "m.npz", train_images=pixels)
    rows = [patient(str(n), tmp_path / "m.npz", index=n) for n in range(3)]
    (found,) = same_pictures(rows)
    assert [record.index for record in found.records] == [0, 2]
    film = np.arange(256, dtype=np.uint8).reshape(16, 16)
    films = [dicom_file(tmp_path / f"{name}.dcm", film, PatientID=name) for name in ("anna", "bertram")]
    films.append(dicom_file(tmp_path / "c.dcm", film.T.copy(), PatientID="c"))
    (found,) = same_pictures([patient(file.stem, file) for file in films])
    assert [record.patient_id for record in found.records] == ["anna", "bertram"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 140, b"\x00" * 128 + b"DICM" + b"\xff" * 50])
def test_what_cannot_be_read_is_nobody_s_copy(tmp_path: Path, content: bytes) -> None:
    """A missing file, a folder, a name with a NUL and a damaged file raise nothing."""
    (tmp_path / "x.dcm").write_bytes(content)
    (tmp_path / "x.npz").write_bytes(content)
    (tmp_path / "e1.png").touch()
    (tmp_path / "e2.png").touch()
    names = ("e1.png", "e2.png", "x.dcm", "x.npz", "gone.png", "nul\0.png", ".", "a" * 300)
    assert same_pictures([patient(name, tmp_path / name, index=0) for name in names]) == []
