"""Rules of compressed pixel data: header against codestream, and a damaged stream is refused rather than half shown."""

from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, uid
from pydicom.encaps import encapsulate, generate_frames

from shared.data.dicom.picture import open_dicom
from shared.data.image_problems import ImageError
from shared.data.pictures.lossless_jpeg import check_lossless
from tests.dicom_files import dicom_file, picture

SYNTAXES = (
    uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1, uid.JPEGLossless, uid.JPEGLSLossless, uid.JPEG2000Lossless,
    uid.RLELossless,
)  # fmt: skip
CUTS = {
    "cut in half": lambda frame: frame[: len(frame) // 2],
    "cut in half and closed": lambda frame: frame[: len(frame) // 2] + b"\xff\xd9",
    "a hole": lambda frame: frame[: len(frame) // 2] + bytes(40) + frame[len(frame) // 2 + 40 :],
}


def grained(bits: int) -> np.ndarray:
    """Return a picture with noise, whose stream is long."""
    noise = np.random.default_rng(0).integers(0, 2 ** (bits - 4), (60, 80))
    grain = picture(top=2**bits - 1 - 2 ** (bits - 4)) + noise
    return grain.astype(np.uint8 if bits == 8 else np.uint16)


def with_frame(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Change the one compressed frame of a file."""
    dataset = dcmread(path)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    dataset.PixelData = encapsulate([change(frame)])
    dataset.save_as(path)
    return path


def kind_of(path: Path) -> str:
    """Return the word under which a file is refused."""
    with pytest.raises(ImageError) as caught:
        open_dicom(path, "allow")
    return caught.value.kind


@pytest.mark.parametrize("damage", CUTS)
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: uid.UID(syntax).name)
@pytest.mark.parametrize("bits", [8, 12])
def test_a_damaged_stream_is_refused(tmp_path: Path, syntax: str, bits: int, damage: str) -> None:
    """Half a stream, closed by an end marker or not, and one with 40 bytes of zeros in it, are no picture."""
    if bits == 12 and syntax == uid.JPEGBaseline8Bit:
        pytest.skip("baseline JPEG has 8 bits")
    if damage == "a hole" and syntax in {uid.JPEG2000Lossless, uid.RLELossless}:
        pytest.skip("zeros in a stream of JPEG 2000, or of RLE, are values like others")
    path = dicom_file(tmp_path / "a.dcm", grained(bits), BitsStored=bits, syntax=syntax)
    assert open_dicom(path, "allow").size == (80, 60)
    assert kind_of(with_frame(path, CUTS[damage])) == "image_unreadable"


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("predictor", [1, 2, 3, 4, 5, 6, 7])
def test_bytes_that_are_gone_from_a_lossless_jpeg_are_met(bits: int, predictor: int) -> None:
    """Of 40 streams that lack 12 bytes all but 2 are refused, whatever the predictor; the whole stream is not."""
    values = grained(bits)
    stream = imagecodecs.jpeg8_encode(values, lossless=True, predictor=predictor, bitspersample=bits)
    check_lossless(stream, imagecodecs.jpeg8_decode(stream))
    random = np.random.default_rng(predictor)
    met = 0
    for _ in range(40):
        at = random.integers(len(stream) // 2, len(stream) - 20)
        damaged = stream[:at] + stream[at + 12 :]
        try:
            check_lossless(damaged, imagecodecs.jpeg8_decode(damaged))
        except Exception:  # noqa: BLE001 - a codec's own refusal counts
            met += 1
    assert met >= 38


@pytest.mark.parametrize(
    ("syntax", "bits", "header"),
    [
        (uid.JPEG2000Lossless, 12, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
        (uid.JPEGLosslessSV1, 12, {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}),
        (uid.JPEGBaseline8Bit, 8, {"BitsAllocated": 16, "BitsStored": 12, "HighBit": 11}),
        (uid.JPEGBaseline8Bit, 8, {"Rows": 80, "Columns": 60}),
        (uid.JPEG2000Lossless, 12, {"Rows": 80, "Columns": 60}),
        (uid.JPEGLSLossless, 12, {"Rows": 59}),
    ],
)
def test_a_codestream_of_another_depth_or_size_than_the_header_is_refused(
    tmp_path: Path, syntax: str, bits: int, header: dict[str, int]
) -> None:
    """Which of the two is right cannot be told."""
    path = dicom_file(tmp_path / "a.dcm", grained(bits), BitsStored=bits, syntax=syntax)
    dataset = dcmread(path)
    for keyword, value in header.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    assert kind_of(path) == "image_header"


def test_values_beyond_the_stored_bits_of_a_deeper_codestream_are_refused(tmp_path: Path) -> None:
    """12 bits of values under a header of 10 would wrap; values of 10 bits in a codestream of 12 are shown."""
    deep = dicom_file(tmp_path / "a.dcm", grained(12), BitsStored=12, syntax=uid.JPEGLSLossless)
    flat = dicom_file(tmp_path / "b.dcm", grained(12) // 4, BitsStored=12, syntax=uid.JPEGLSLossless)
    for path in (deep, flat):
        dataset = dcmread(path)
        dataset.BitsStored, dataset.HighBit = 10, 9
        dataset.save_as(path)
    assert kind_of(deep) == "image_bits"
    assert open_dicom(flat, "allow").size == (80, 60)
