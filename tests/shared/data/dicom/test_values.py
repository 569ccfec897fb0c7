"""Rules of what stored bits, tables and half-filled tags mean: each right picture by hand, or a refusal by a word."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread, uid
from pydicom.dataelem import DataElement

from shared.data.dicom.picture import is_dicom, open_dicom
from shared.data.image_problems import PROBLEMS, ImageError
from tests.dicom_files import dicom_file, picture

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}


def shown(path: Path) -> np.ndarray:
    """Return the picture (H, W) as whole numbers."""
    return np.asarray(open_dicom(path, "allow")).astype(int)


def kind_of(path: Path) -> str:
    """Return the word under which a file is refused."""
    with pytest.raises(ImageError) as caught:
        open_dicom(path, "allow")
    assert caught.value.kind in PROBLEMS
    return caught.value.kind


def table(data: list[int] | bytes, num_entries: int, first: int, bits: int) -> Dataset:
    """Return one item of a lookup table sequence, as US or, for bytes, OW."""
    item = Dataset()
    item.add(DataElement(0x00283002, "US", [num_entries, first, bits]))
    item.add(DataElement(0x00283006, "OW" if isinstance(data, bytes) else "US", data))
    return item


@pytest.fixture
def right(tmp_path: Path) -> np.ndarray:
    """Return what 12 bits in the low bits of a word, with a window over all of them, look like."""
    return shown(dicom_file(tmp_path / "right.dcm", picture(), BitsStored=12, **WINDOW))


@pytest.mark.parametrize("syntax", [uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian, uid.RLELossless])
def test_values_stand_below_the_high_bit(tmp_path: Path, right: np.ndarray, syntax: str) -> None:
    """12 bits under high bit 15 are the same 12 bits under high bit 11."""
    path = dicom_file(tmp_path / "a.dcm", picture() << 4, BitsStored=12, HighBit=15, syntax=syntax, **WINDOW)
    np.testing.assert_array_equal(shown(path), right)


@pytest.mark.parametrize("high", [10, 16])
def test_a_high_bit_without_room_for_the_values_is_refused(tmp_path: Path, high: int) -> None:
    """12 bits do not fit below bit 10, and a word of 16 bits has no bit 16."""
    path = dicom_file(tmp_path / "a.dcm", picture(), BitsStored=12, HighBit=high)
    assert kind_of(path) == "image_bits"


def test_bits_beside_the_values_are_refused_unless_an_overlay_is_named_there(
    tmp_path: Path, right: np.ndarray
) -> None:
    """Bit 12 of some pixels is a contradiction; the same bit is left out where group 6000 says it is an overlay."""
    stored = picture()
    stored[10:20, 10:20] |= 1 << 12
    path = dicom_file(tmp_path / "a.dcm", stored, BitsStored=12, **WINDOW)
    assert kind_of(path) == "image_bits"
    dataset = dcmread(path)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 12)
    dataset.save_as(path)
    np.testing.assert_array_equal(shown(path), right)


@pytest.mark.parametrize("extended", [True, False])
def test_signed_values_of_twelve_bits_keep_their_sign(
    tmp_path: Path, right: np.ndarray, extended: bool
) -> None:
    """-2048..2047 in 12 bits, with the sign in the four bits above or zeros there, and the window moved with them."""
    stored = picture().astype(np.int16) - 2048
    words = stored if extended else stored & 0xFFF
    path = dicom_file(tmp_path / "a.dcm", words, BitsStored=12, WindowCenter=0, WindowWidth=4096)
    np.testing.assert_array_equal(shown(path), right)


def test_padding_has_the_sign_of_the_pixels(tmp_path: Path) -> None:
    """33536 as US is -32000 of signed pixels: black, and of no weight for the contrast."""
    stored = picture().astype(np.int16)
    stored[:, :10] = -32000
    path = dicom_file(tmp_path / "a.dcm", stored)
    dataset = dcmread(path)
    dataset.add_new(0x00280120, "US", 33536)
    dataset.save_as(path)
    rest = stored[:, 10:].astype(float)
    expected = 255 * (rest - rest.min()) / (rest.max() - rest.min())
    assert (shown(path)[:, :10] == 0).all()
    assert np.abs(shown(path)[:, 10:] - expected).max() <= 0.5


@pytest.mark.parametrize("first", [63488, 0])
def test_a_tables_first_value_has_the_sign_of_the_values_it_is_for(tmp_path: Path, first: int) -> None:
    """63488 is -2048 where the rescale goes below 0, and 63488 where it does not."""
    entries = [16 * i for i in range(4096)]
    tags: dict[str, Any] = {"RescaleSlope": 1, "RescaleIntercept": -2048 if first else 0}
    path = dicom_file(
        tmp_path / "a.dcm", picture(), BitsStored=12, VOILUTSequence=[table(entries, 4096, first, 16)], **tags
    )
    assert np.abs(shown(path) - 16 * picture() / 65535 * 255).max() <= 0.5


@pytest.mark.parametrize("little", [True, False])
def test_eight_bit_entries_may_be_packed_two_to_a_word(tmp_path: Path, little: bool) -> None:
    """As bytes or as words whose low byte comes first, 4096 entries of 8 bits take 4096 bytes."""
    entries = bytes(round(255 * (i / 4095) ** 2) for i in range(4096))
    words = [entries[i] | entries[i + 1] << 8 for i in range(0, 4096, 2)]
    syntax = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
    sequence = [table(words, 4096, 0, 8)]
    path = dicom_file(tmp_path / "a.dcm", picture(), BitsStored=12, VOILUTSequence=sequence, syntax=syntax)
    assert np.abs(shown(path) - 255 * (picture() / 4095) ** 2).max() <= 0.5
    item = table(entries, 4096, 0, 8)
    path = dicom_file(tmp_path / "b.dcm", picture(), BitsStored=12, VOILUTSequence=[item])
    assert np.abs(shown(path) - 255 * (picture() / 4095) ** 2).max() <= 0.5


@pytest.mark.parametrize(
    ("said", "held"), [(16, 12), (12, 16), (10, 10), (11, 11), (12, 12), (13, 13), (14, 14), (15, 15)]
)
def test_what_a_table_holds_is_black_to_white(tmp_path: Path, said: int, held: int) -> None:
    """Entries 0..2^held-1 run from black to white, whatever depth the table says."""
    top = 2**held - 1
    entries = [round(top * (i / 4095) ** 2) for i in range(4096)]
    path = dicom_file(
        tmp_path / "a.dcm", picture(), BitsStored=12, VOILUTSequence=[table(entries, 4096, 0, said)]
    )
    assert np.abs(shown(path) - 255 * (picture() / 4095) ** 2).max() <= 1


@pytest.mark.parametrize("wrong", [(4096, 0, 7), (4096, 0, 17), (100, 0, 16), (5000, 0, 16)])
def test_a_table_that_is_not_what_it_says_is_refused(tmp_path: Path, wrong: tuple[int, int, int]) -> None:
    """A depth that no table has, or another number of entries than said."""
    sequence = [table(list(range(4096)), *wrong)]
    path = dicom_file(tmp_path / "a.dcm", picture(), BitsStored=12, VOILUTSequence=sequence)
    assert kind_of(path) == "image_window"


@pytest.mark.parametrize("there", [{"RescaleSlope": 2}, {"RescaleIntercept": -100}])
def test_half_a_rescale_is_completed(tmp_path: Path, there: dict[str, Any]) -> None:
    """A slope alone has intercept 0, an intercept alone slope 1; the window is in those units."""
    path = dicom_file(
        tmp_path / "a.dcm", picture(), BitsStored=12, WindowCenter=1500, WindowWidth=3001, **there
    )
    values = picture() * there.get("RescaleSlope", 1.0) + there.get("RescaleIntercept", 0)
    expected = 255 * ((values - 1499.5) / 3000 + 0.5).clip(0, 1)
    assert np.abs(shown(path) - expected).max() <= 0.5


def test_what_is_there_but_empty_counts_as_absent(tmp_path: Path, right: np.ndarray) -> None:
    """Empty tables, functions, shapes, windows, rescales and paddings change nothing."""
    nothing: dict[str, Any] = {
        "VOILUTFunction": "", "PresentationLUTShape": "", "RescaleSlope": "", "RescaleIntercept": "",
        "VOILUTSequence": [table(b"", 0, 0, 0)], "ModalityLUTSequence": [Dataset()],
    }  # fmt: skip
    del nothing["VOILUTSequence"][0].LUTDescriptor
    path = dicom_file(tmp_path / "a.dcm", picture(), BitsStored=12, **WINDOW, **nothing)
    np.testing.assert_array_equal(shown(path), right)


@pytest.mark.parametrize(
    "tags", [{"WindowCenter": 10, "WindowWidth": 0}, {"WindowCenter": 10}, {"WindowWidth": 9}]
)
def test_a_window_of_width_0_or_half_a_window_is_none(tmp_path: Path, tags: dict[str, Any]) -> None:
    """The picture is then stretched as without a window."""
    without = shown(dicom_file(tmp_path / "a.dcm", picture(), BitsStored=12))
    np.testing.assert_array_equal(
        shown(dicom_file(tmp_path / "b.dcm", picture(), BitsStored=12, **tags)), without
    )


def test_an_exact_window_is_a_line_of_its_whole_width(tmp_path: Path) -> None:
    """PS3.3 C.11.2.1.3.2 by hand: (x - c) / w + 1/2; a function nobody knows is refused."""
    tags = {"BitsStored": 12, "WindowCenter": 2000, "WindowWidth": 1000}
    path = dicom_file(tmp_path / "a.dcm", picture(), VOILUTFunction="LINEAR_EXACT", **tags)
    expected = 255 * ((picture().astype(float) - 2000) / 1000 + 0.5).clip(0, 1)
    assert np.abs(shown(path) - expected).max() <= 0.5
    assert (
        kind_of(dicom_file(tmp_path / "b.dcm", picture(), VOILUTFunction="CUBIC", **tags)) == "image_window"
    )


@pytest.mark.parametrize(
    ("photometric", "shape", "refused"),
    [
        ("MONOCHROME2", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", True),
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME1", "INVERSE", False),
        ("MONOCHROME2", "LIN OD", True),
    ],
)
def test_a_file_that_contradicts_itself_about_black_and_white_is_refused(
    tmp_path: Path, photometric: str, shape: str, refused: bool
) -> None:
    """The pairs of PS3.3 C.8.11.3.1.2 are shown, and any other is refused with a word of its own."""
    tags = {"BitsStored": 12, "PhotometricInterpretation": photometric, **WINDOW}
    path = dicom_file(tmp_path / "a.dcm", picture(), PresentationLUTShape=shape, **tags)
    if refused:
        assert kind_of(path) == "image_inverted"
    else:
        np.testing.assert_array_equal(shown(path), shown(dicom_file(tmp_path / "b.dcm", picture(), **tags)))


def test_one_hot_pixel_does_not_blacken_the_rest(tmp_path: Path) -> None:
    """A pixel at 65535 is white, and the rest is what it is without it."""
    plain = shown(dicom_file(tmp_path / "a.dcm", picture()))
    stored = picture()
    stored[30, 40] = 65535
    hot = shown(dicom_file(tmp_path / "b.dcm", stored))
    assert hot[30, 40] == 255
    hot[30, 40] = plain[30, 40]
    assert np.abs(hot - plain).max() <= 1


@pytest.mark.parametrize(
    "syntax", [uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian]
)
@pytest.mark.parametrize("meta", [True, False])
def test_a_file_without_a_preamble_is_read_where_it_parses_surely(
    tmp_path: Path, right: np.ndarray, syntax: str, meta: bool
) -> None:
    """Cut before its first group, or before group 8, a file gives the same picture; with pixels left over none."""
    path = dicom_file(tmp_path / "a.dcm", picture(), BitsStored=12, syntax=syntax, **WINDOW)
    content = path.read_bytes()
    start = 132 if meta else 144 + int.from_bytes(content[140:144], "little")
    path.write_bytes(content[start:])
    assert is_dicom(path)
    np.testing.assert_array_equal(shown(path), right)
    if not meta:
        dataset = dcmread(path, force=True)
        dataset.Rows -= 1
        dataset.save_as(
            path,
            enforce_file_format=False,
            implicit_vr=dataset.original_encoding[0],
            little_endian=dataset.original_encoding[1],
        )
        assert kind_of(path) == "image_syntax"
