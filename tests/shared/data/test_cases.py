"""What each case of ../shared/cases/images must give: its expected picture, or its word; skipped where it is absent."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.config.study import Task
from shared.data.image_problems import ImageError
from shared.data.images import load_mask, open_image
from shared.data.patients import ImageRecord

CASES = Path(os.environ.get("ROUNDS_CASES", Path(__file__).parents[4] / "shared" / "cases")) / "images"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not CASES.is_dir(), reason="the cases are not at ROUNDS_CASES (default ../shared/cases)"
    ),
]
SHOWN = (
    "high_bit_15_of_12/x.dcm", "lut_sequences_with_empty_items/x.dcm", "padding_us_in_signed_data/x.dcm",
    "rescale_slope_without_intercept/x.dcm", "voi_function_empty/x.dcm", "voi_table_16_bits_said_12_held/x.dcm",
    "voi_table_8_bits_packed/x.dcm", "voi_table_first_value_us/x.dcm", "jpeg_exif_2_mirrored/x.jpg",
    "jpeg_exif_6/x.jpg", "png_grey_alpha_16/x.png", "png_rgb48_of_12_bits/x.png",
    "tiff_grey_premultiplied_alpha/normal/x.tif", "tiff_rgb16_planar/x.tif", "tiff_signed_8/x.tif",
    "tiff_white_is_zero_16/x.tif",
)  # fmt: skip
REFUSED = {
    "abort_j2k_three_components/x.dcm": "image_header",
    "abort_jpeg_one_damaged_byte/x.dcm": "image_unreadable",
    "abort_jpegls_other_size/x.dcm": "image_header",
    "bits_stored_8_values_12/x.dcm": "image_bits",
    "eps_named_png/x.png": "image_unreadable",
    "frames_absent_two_in_pixels/x.dcm": "image_frames",
    "frames_in_pixels_not_in_header/x.dcm": "image_frames",
    "j2k_16_bits_header_8/x.dcm": "image_header",
    "jpeg_rows_columns_swapped/x.dcm": "image_header",
    "jpeg_three_components_mono_header/x.dcm": "image_header",
    "jpegls_three_components_mono_header/x.dcm": "image_header",
    "png_animated/x.png": "image_frames",
    "presentation_lut_inverse_mono2/x.dcm": "image_inverted",
    "tiff_three_pages/x.tif": "image_frames",
}


def opened(name: str) -> np.ndarray:
    """Return a case's picture as whole numbers."""
    image = open_image(ImageRecord(CASES / name, 0, "s", "p", "", None, text_rule="allow"))
    return np.asarray(image).astype(int)


@pytest.mark.parametrize("name", SHOWN)
def test_the_right_picture_is_shown(name: str) -> None:
    """Within 3 grey levels for JPEG, which loses that much, and 1 for others."""
    with Image.open(CASES / name.partition("/")[0] / "expected.png") as image:
        expected = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(opened(name) - expected).max() <= (3 if name.endswith("jpg") else 1)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_shown_rightly_is_refused(name: str) -> None:
    """Each with its word."""
    with pytest.raises(ImageError) as caught:
        opened(name)
    assert caught.value.kind == REFUSED[name]


def test_single_pixels_and_depths_do_not_set_the_contrast() -> None:
    """Most of the picture with a hot pixel is no longer black, and 8 and 16 bits of one picture are the same."""
    assert np.median(opened("hot_pixel_16_bits/x.png")) > 80
    eight, sixteen = (opened(f"same_picture_8_and_16_bits/{name}.png") for name in ("g8", "g16"))
    np.testing.assert_array_equal(eight, sixteen)
    assert np.ptp(opened("window_width_zero/x.dcm")) == 255


@pytest.mark.parametrize("name", ["normal/n0", "opacity/o0", "opacity/o1"])
def test_masks_of_0_and_1_a_palette_and_alpha_have_their_area(name: str) -> None:
    """27.8 % of each picture is lung, 1200 of 4320 pixels."""
    folder = CASES / "mask_of_0_and_1"
    mask = folder / "m" / f"{name.partition('/')[2]}.png"
    found = load_mask(
        ImageRecord(folder / f"{name}.png", 0, "s", "p", "", mask), Task(classes=("a", "b"), image_size=60)
    )
    assert found is not None
    assert 0.26 < found.mean() < 0.30
