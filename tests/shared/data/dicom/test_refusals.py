"""Rules of refusing a DICOM file: one word each, and nothing told of what stands in it."""

import logging
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import config, uid

from shared.data.dicom.picture import open_dicom
from shared.data.image_problems import PROBLEMS, ImageError
from shared.data.silence import silence
from tests.dicom_files import PLANTED, dicom_file, picture, with_text

SYNTAXES = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian, uid.RLELossless,
    uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000Lossless,
)  # fmt: skip


def kind_of(path: Path, rule: Any = "allow") -> str:
    """Return the word under which a file is refused."""
    with pytest.raises(ImageError) as caught:
        open_dicom(path, rule)
    return caught.value.kind


@pytest.mark.parametrize(
    ("kind", "tags"),
    [
        ("image_not_grey", {"PhotometricInterpretation": "PALETTE COLOR"}),
        ("image_frames", {"NumberOfFrames": 2}),
        ("image_depth", {"BitsStored": 4}),
        ("image_too_large", {"Rows": 60000, "Columns": 60000}),
        ("image_window", {"WindowCenter": 0, "WindowWidth": -5}),
        ("image_window", {"RescaleSlope": "1e308", "RescaleIntercept": "1e308"}),
        ("image_unreadable", {"Rows": 61}),
        ("image_no_pixels", {"PixelData": None}),
        ("image_syntax", {"syntax": "1.2.840.10008.1.2.4.100"}),
    ],
)
def test_what_cannot_be_shown_has_a_word(tmp_path: Path, kind: str, tags: dict[str, Any]) -> None:
    """Colour, several frames, odd depths, wrong windows, missing pixels and foreign syntaxes are told apart."""
    path = dicom_file(tmp_path / "a.dcm", picture(top=255).astype(np.uint8), **tags)
    assert kind_of(path) == kind
    assert kind in PROBLEMS


def test_twelve_bit_jpeg_needs_a_codec_that_is_not_there(tmp_path: Path) -> None:
    """JPEG with 12 bits is refused as a syntax, not as a damaged file."""
    path = dicom_file(tmp_path / "a.dcm", picture(), BitsStored=12, syntax=uid.JPEGLosslessSV1)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.4.51"))
    assert kind_of(path) == "image_syntax"


def test_missing_blank_and_cut_files_have_a_word(tmp_path: Path) -> None:
    """A file that is not there, one of one grey value, and one that ends early."""
    assert kind_of(tmp_path / "none.dcm") == "image_missing"
    assert kind_of(dicom_file(tmp_path / "flat.dcm", np.full((9, 9), 7, np.uint8))) == "image_empty"
    path = dicom_file(tmp_path / "cut.dcm", picture())
    path.write_bytes(path.read_bytes()[:-4000])
    assert kind_of(path) == "image_unreadable"


def test_a_flag_of_burned_in_text_is_refused_unless_all_is_allowed(tmp_path: Path) -> None:
    """BurnedInAnnotation YES is refused by both refusing rules; NO and an absent flag pass."""
    stored = picture(top=255).astype(np.uint8)
    path = dicom_file(tmp_path / "a.dcm", stored, BurnedInAnnotation="YES")
    assert kind_of(path, "refuse") == kind_of(path, "refuse_flagged") == "image_burned_in"
    assert open_dicom(path, "allow").size == (80, 60)
    assert open_dicom(dicom_file(tmp_path / "b.dcm", stored, BurnedInAnnotation="NO"), "refuse").mode == "L"


def test_suspected_text_is_refused_by_the_strict_rule_only(tmp_path: Path) -> None:
    """A name printed into the picture is refused by default, and passes where only flagged text is refused."""
    stored = with_text(
        picture(height=256, width=256, top=120).astype(np.uint8), "Plantedname P 07.02.1933", 10
    )
    path = dicom_file(tmp_path / "a.dcm", stored)
    assert kind_of(path, "refuse") == "image_text"
    assert open_dicom(path, "refuse_flagged").size == (256, 256)


def damaged(path: Path, seed: int) -> Path:
    """Overwrite some bytes behind the file's beginning by chance."""
    random = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for place in random.integers(140, min(len(content), 1400), 12):
        content[place] = random.integers(256)
    path.write_bytes(content)
    return path


def test_no_failure_tells_anything_of_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """However a file is damaged, error, traceback, log, warnings and output hold no planted value and no path."""
    caplog.set_level(logging.DEBUG)
    folder = tmp_path / "Plantedname-PLANTED-4711"
    told, causes = [], []
    for seed in range(150):
        path = dicom_file(
            folder / f"{seed}.dcm", picture(), BitsStored=12, syntax=SYNTAXES[seed % len(SYNTAXES)]
        )
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            silence()  # as a process of ours has done by then
            caplog.clear()
            try:
                open_dicom(damaged(path, seed), "refuse")
            except ImageError as error:
                told.append("".join(traceback.format_exception(error)))
                causes += [error.__cause__, error.__context__]
        assert warned == []
        told.append(caplog.text)
    output = "".join([*told, *capfd.readouterr()])
    assert len(causes) > 60
    assert set(causes) == {None}
    assert not [value for value in PLANTED if value in output]


def test_reading_leaves_pydicom_as_it_was(tmp_path: Path) -> None:
    """Log level and validation mode are what they were, after success and after failure."""
    logger = logging.getLogger("pydicom")
    before = logger.level, config.settings.reading_validation_mode
    open_dicom(dicom_file(tmp_path / "a.dcm", picture()), "allow")
    kind_of(tmp_path / "none.dcm")
    assert (logger.level, config.settings.reading_validation_mode) == before
