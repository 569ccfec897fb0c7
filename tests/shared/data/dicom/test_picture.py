"""Rules of showing one DICOM file: what a window, a table, an orientation and a transfer syntax make of it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread, uid

from shared.config.study import Task
from shared.data.dicom.picture import is_dicom, open_dicom
from shared.data.image_problems import ImageError
from shared.data.images import load_pixels
from shared.data.patients import ImageRecord
from tests.dicom_files import dicom_file, picture

LOSSLESS = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless, uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless,
)  # fmt: skip


def shown(path: Path) -> np.ndarray:
    """Return the picture (H, W) as whole numbers."""
    return np.asarray(open_dicom(path, "allow")).astype(int)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Map low..high to 0..255, cut off, as a float."""
    return 255 * ((values - low) / (high - low)).clip(0, 1)


def table(data: list[int], first: int, bits: int) -> Dataset:
    """Return one item of a lookup table sequence."""
    item = Dataset()
    item.LUTDescriptor = [len(data), first, bits]
    item.LUTData = data
    item["LUTDescriptor"].VR, item["LUTData"].VR = "US", "US"
    return item


@pytest.mark.parametrize(
    ("tags", "sign"),
    [
        ({}, 1),
        ({"RescaleSlope": 2, "RescaleIntercept": 9}, 1),
        ({"RescaleSlope": -1, "RescaleIntercept": 0}, -1),
    ],
)
def test_eight_bits_without_a_window_are_shown_as_they_are(
    tmp_path: Path, tags: dict[str, Any], sign: int
) -> None:
    """Stored 8-bit values are the grey values, whatever their unit; a falling rescale gives the negative."""
    stored = picture(top=200).astype(np.uint8)
    expected = stored if sign > 0 else 255 - stored.astype(int)
    np.testing.assert_array_equal(shown(dicom_file(tmp_path / "a.dcm", stored, **tags)), expected)


@pytest.mark.parametrize(("dtype", "offset"), [(np.uint16, 0), (np.int16, -2048)])
def test_more_bits_without_a_window_are_stretched(tmp_path: Path, dtype: type, offset: int) -> None:
    """12 bits, signed or not, run from the picture's own darkest to its brightest value."""
    stored = (picture().astype(int) // 2 + 100 + offset).astype(dtype)
    path = dicom_file(tmp_path / "a.dcm", stored, BitsStored=12)
    assert np.abs(shown(path) - scaled(stored, stored.min(), stored.max())).max() <= 0.5


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    """The same values as MONOCHROME1 give the negative."""
    stored = picture(top=255).astype(np.uint8)
    path = dicom_file(tmp_path / "a.dcm", stored, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(shown(path), 255 - stored.astype(int))


def test_the_window_is_applied_to_rescaled_values(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.2 by hand: white above c - 0.5 + (w - 1) / 2 of 2 x - 1024, black below, a line between."""
    stored = picture()
    path = dicom_file(
        tmp_path / "a.dcm", stored, BitsStored=12, RescaleSlope=2, RescaleIntercept=-1024, WindowCenter=1500,
        WindowWidth=2001,
    )  # fmt: skip
    expected = scaled(2.0 * stored - 1024, 1499.5 - 1000, 1499.5 + 1000)
    assert np.abs(shown(path) - expected).max() <= 0.5
    assert {0, 255} <= set(shown(path).ravel())


def test_a_falling_rescale_turns_the_picture(tmp_path: Path) -> None:
    """With slope -1 high stored values are low, windowed or not."""
    stored = picture()
    tags = {"BitsStored": 12, "RescaleSlope": -1, "RescaleIntercept": 4095}
    plain = shown(dicom_file(tmp_path / "a.dcm", stored, **tags))
    windowed = shown(dicom_file(tmp_path / "b.dcm", stored, **tags, WindowCenter=2048, WindowWidth=4096))
    for grey in (plain, windowed):
        assert np.abs(grey - scaled(4095.0 - stored, 0, 4095)).max() <= 1


def test_the_first_of_several_windows_counts(tmp_path: Path) -> None:
    """Two windows give the same picture as the first alone."""
    tags = {"BitsStored": 12}
    two = dicom_file(tmp_path / "a.dcm", picture(), WindowCenter=[1000, 3000], WindowWidth=[900, 50], **tags)
    one = dicom_file(tmp_path / "b.dcm", picture(), WindowCenter=1000, WindowWidth=900, **tags)
    np.testing.assert_array_equal(shown(two), shown(one))


def test_a_sigmoid_window_is_a_sigmoid(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.3.1 by hand: 255 / (1 + exp(-4 (x - c) / w))."""
    stored = picture()
    path = dicom_file(
        tmp_path / "a.dcm",
        stored,
        BitsStored=12,
        WindowCenter=2000,
        WindowWidth=1500,
        VOILUTFunction="SIGMOID",
    )
    expected = 255 / (1 + np.exp(-4 * (stored.astype(float) - 2000) / 1500))
    assert np.abs(shown(path) - expected).max() <= 0.5


@pytest.mark.parametrize("bits", [8, 16])
def test_a_voi_table_replaces_the_window(tmp_path: Path, bits: int) -> None:
    """A table of 4096 entries of 8 or 16 bits maps each value; the window beside it is not looked at."""
    top = 2**bits - 1
    entries = [round(top * (i / 4095) ** 2) for i in range(4096)]
    path = dicom_file(
        tmp_path / "a.dcm", picture(), BitsStored=12, VOILUTSequence=[table(entries, 0, bits)], WindowCenter=10,
        WindowWidth=10,
    )  # fmt: skip
    expected = 255 * (picture() / 4095) ** 2
    assert np.abs(shown(path) - expected).max() <= 1


def test_a_modality_table_comes_before_the_window(tmp_path: Path) -> None:
    """Values pass the modality table first: the window is in its units."""
    entries = [65535 - 16 * i for i in range(4096)]
    path = dicom_file(
        tmp_path / "a.dcm", picture(), BitsStored=12, ModalityLUTSequence=[table(entries, 0, 16)],
        WindowCenter=32768, WindowWidth=65536,
    )  # fmt: skip
    assert np.abs(shown(path) - (65535 - 16.0 * picture()) / 65535 * 255).max() <= 1


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_sets_no_contrast(tmp_path: Path, photometric: str) -> None:
    """Fill at -2000 is shown black in both photometrics, and the rest is scaled as if it were not there."""
    stored = picture().astype(np.int16) // 4
    padded = stored.copy()
    padded[:, :10] = -2000
    tags = {"PhotometricInterpretation": photometric}
    grey = shown(dicom_file(tmp_path / "a.dcm", padded, PixelPaddingValue=-2000, **tags))
    assert (grey[:, :10] == 0).all()
    rest = shown(dicom_file(tmp_path / "b.dcm", stored[:, 10:], **tags))
    np.testing.assert_array_equal(grey[:, 10:], rest)


@pytest.mark.parametrize(
    ("orientation", "stored_as"),
    [
        (["L", "F"], lambda p: p),
        (["R", "F"], lambda p: p[:, ::-1]),
        (["L", "H"], lambda p: p[::-1]),
        (["R", "H"], lambda p: p[::-1, ::-1]),
        (["F", "L"], lambda p: p.T),
        (["H", "R"], lambda p: p[::-1, ::-1].T),
        (["LF", "FR"], lambda p: p),
        (["A", "H"], lambda p: p[::-1]),
        (["L"], lambda p: p),
        (None, lambda p: p),
    ],
)
def test_the_patient_stands_upright(tmp_path: Path, orientation: list[str] | None, stored_as: Any) -> None:
    """However rows and columns were stored, the head is up and the patient's left side on the right."""
    upright = picture(top=255).astype(np.uint8)
    path = dicom_file(
        tmp_path / "a.dcm", np.ascontiguousarray(stored_as(upright)), PatientOrientation=orientation
    )
    np.testing.assert_array_equal(shown(path), upright)


@pytest.mark.parametrize("syntax", LOSSLESS, ids=lambda syntax: uid.UID(syntax).name)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_syntaxes_give_the_same_picture(tmp_path: Path, syntax: str, dtype: type) -> None:
    """Encoded by real encoders, 8 and 12 bits come back value by value."""
    bits = 8 if dtype is np.uint8 else 12
    stored = picture(top=2**bits - 1).astype(dtype)
    plain = dicom_file(tmp_path / "plain.dcm", stored, BitsStored=bits)
    coded = dicom_file(tmp_path / "coded.dcm", stored, BitsStored=bits, syntax=syntax)
    assert dcmread(coded).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(shown(coded), shown(plain))


@pytest.mark.parametrize("syntax", [uid.RLELossless, uid.JPEG2000Lossless])
def test_compressed_signed_values_keep_their_sign(tmp_path: Path, syntax: str) -> None:
    """Signed 16-bit values come back value by value."""
    stored = (picture().astype(int) - 2000).astype(np.int16)
    plain, coded = tmp_path / "plain.dcm", tmp_path / "coded.dcm"
    np.testing.assert_array_equal(
        shown(dicom_file(coded, stored, syntax=syntax)), shown(dicom_file(plain, stored))
    )


@pytest.mark.parametrize("syntax", [uid.JPEGBaseline8Bit, uid.JPEGLSNearLossless, uid.JPEG2000])
def test_lossy_syntaxes_give_nearly_the_same_picture(tmp_path: Path, syntax: str) -> None:
    """At high quality no grey value is off by more than five."""
    stored = picture(top=255).astype(np.uint8)
    coded = dicom_file(tmp_path / "coded.dcm", stored, syntax=syntax)
    assert dcmread(coded).file_meta.TransferSyntaxUID == syntax
    assert np.abs(shown(coded) - stored).max() <= 5


def test_a_file_without_a_suffix_is_known_by_how_it_begins(tmp_path: Path) -> None:
    """Exports are often named by a UID; such a file loads like one called .dcm, and a text file is no DICOM."""
    task = Task(classes=("a", "b"), image_size=32)
    stored = picture(top=255).astype(np.uint8)
    named, bare = dicom_file(tmp_path / "a.dcm", stored), dicom_file(tmp_path / "1.2.840.5", stored)
    loaded = [load_pixels(ImageRecord(path, 0, "", "p", "", None), task) for path in (named, bare)]
    np.testing.assert_array_equal(*loaded)
    bare.unlink()
    with pytest.raises(ImageError, match=r"^image_missing") as caught:
        load_pixels(ImageRecord(bare, 0, "", "p", "", None), task)
    assert bare.name not in str(caught.value)
    (tmp_path / "text").write_text("no picture" * 40)
    assert not is_dicom(tmp_path / "text")
    assert not is_dicom(tmp_path / "none")
