"""Rules of loading pixels and masks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from shared.config.study import Task
from shared.data.images import ImageError, check_images, load_mask, load_pixels, normalise
from shared.data.patients import ImageRecord, Patient

TASK = Task(classes=("normal", "pneumonia"), image_size=32)
FUNDUS = Task(classes=("no_dr", "dr"), image_size=64, crop="field_of_view")


def record(file: Path, mask: Path | None = None) -> ImageRecord:
    """One record of an image."""
    return ImageRecord(file, 0, "a", "p", "train", mask)


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write pixels as they are."""
    Image.fromarray(pixels).save(path)
    return path


def ramp(height: int, width: int) -> np.ndarray:
    """Return a picture that brightens from left to right."""
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def test_grey_is_replicated_and_squashed(tmp_path: Path) -> None:
    """A wide grey picture fills the square whole: no padding, three equal channels."""
    pixels = load_pixels(record(save(tmp_path / "a.png", ramp(40, 120))), TASK)
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[..., :1]).all()
    assert pixels[:, 0].max() < 10
    assert pixels[:, -1].min() > 245


def test_reducing_averages_areas(tmp_path: Path) -> None:
    """A picture of twice the side is reduced to the mean of its 2x2 blocks."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    found = load_pixels(record(save(tmp_path / "a.png", pixels)), TASK)[..., 0]
    means = pixels.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert np.abs(found - means).max() <= 1


@pytest.mark.parametrize(
    ("low", "high", "kind", "name"),
    [
        (0, 4095, np.uint16, "a.png"),
        (0, 4095, np.int32, "a.tif"),
        (-70_000, 2**31 - 1, np.int32, "a.tif"),
        (-1000, 3000, np.float32, "a.tif"),
        (0, 1, np.float32, "a.tif"),
    ],
)
def test_deep_grey_keeps_its_range(
    tmp_path: Path, low: float, high: float, kind: type[np.number[Any]], name: str
) -> None:
    """A picture stored in 16 or 32 bits is scaled to 0..255, not cut off."""
    deep = np.tile(np.linspace(low, high, 32).astype(kind), (32, 1))
    pixels = load_pixels(record(save(tmp_path / name, deep)), TASK)[0, :, 0]
    assert pixels[0] == 0
    assert pixels[-1] == 255
    assert (np.diff(pixels.astype(int)) > 0).all()


@pytest.mark.parametrize(("value", "kind"), [(np.nan, "image_unreadable"), (7.0, "image_empty")])
def test_floating_point_that_is_no_picture_is_refused(tmp_path: Path, value: float, kind: str) -> None:
    """A pixel that is not finite, or one value everywhere, is an ImageError of its kind."""
    deep = np.full((32, 32), 7, np.float32)
    deep[0, 0] = value
    with pytest.raises(ImageError) as caught:
        load_pixels(record(save(tmp_path / "a.tif", deep)), TASK)
    assert caught.value.kind == kind


@pytest.mark.parametrize(
    ("content", "kind"),
    [(None, "image_missing"), (b"", "image_unreadable"), (b"\x89PNG\r\n\x1a\n\0\0", "image_unreadable")],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes | None, kind: str) -> None:
    """A missing, empty or damaged file is a DataError of its kind, in one sentence."""
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ImageError, match=r"file .*; (restore|replace) it") as caught:
        load_pixels(record(tmp_path / "a.png"), TASK)
    assert caught.value.kind == kind


def test_a_cut_jpeg_is_refused(tmp_path: Path) -> None:
    """A JPEG that ends early is refused, not filled with grey."""
    path = save(tmp_path / "a.jpg", np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:1200])
    with pytest.raises(ImageError, match="no readable image"):
        load_pixels(record(path), TASK)


def test_a_picture_of_one_grey_value_is_refused(tmp_path: Path) -> None:
    """A blank picture is refused as empty."""
    with pytest.raises(ImageError, match="one grey value only"):
        load_pixels(record(save(tmp_path / "a.png", np.full((40, 40), 7, np.uint8))), TASK)


def test_a_mask_follows_its_image(tmp_path: Path) -> None:
    """A mask is resized like its image: the bright half of the picture stays under its mask."""
    grey = ramp(50, 90)
    image = save(tmp_path / "a.png", grey)
    mask = load_mask(record(image, save(tmp_path / "m.png", (grey > 127).astype(np.uint8) * 255)), TASK)
    assert mask is not None
    assert mask.dtype == bool
    pixels = load_pixels(record(image), TASK)[..., 0]
    assert pixels[mask].min() > 120
    assert pixels[~mask].max() < 136
    assert load_mask(record(image), TASK) is None


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    """A mask of another size than its image is refused with both sizes."""
    image, mask = save(tmp_path / "a.png", ramp(40, 60)), save(tmp_path / "m.png", ramp(40, 50))
    with pytest.raises(ImageError, match=r"mask .* is 50x40, allowed is its image's 60x40"):
        load_mask(record(image, mask), TASK)


def test_a_fundus_is_cut_to_its_disc_with_its_mask(tmp_path: Path) -> None:
    """The disc fills the square from border to border, and a lesion's mask moves with it."""
    y, x = np.mgrid[:100, :200]
    disc = (y - 50) ** 2 + (x - 120) ** 2 < 40**2
    spot = (y - 50) ** 2 + (x - 150) ** 2 < 4**2
    photo = np.zeros((100, 200, 3), np.uint8)
    photo[disc], photo[spot] = (160, 80, 30), (250, 240, 200)
    image = save(tmp_path / "a.png", photo)
    pixels = load_pixels(record(image), FUNDUS)
    lit = pixels[..., 0] > 60
    assert lit[32, 1]
    assert lit[32, -2]
    assert lit[1, 32]
    assert lit[-2, 32]
    mask = load_mask(record(image, save(tmp_path / "m.png", spot.astype(np.uint8) * 255)), FUNDUS)
    assert mask is not None
    assert pixels[mask][:, 1].min() > 85
    assert 0.5 < mask.sum() / ((pixels[..., 1] > 160).sum()) < 2


def test_normalise_is_imagenets() -> None:
    """A pixel p of channel c becomes (p / 255 - mean_c) / std_c, channels first."""
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    found = normalise(pixels)
    assert found.shape == (3, 4, 5)
    expected = (pixels[1, 2] / 255 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    torch.testing.assert_close(found[:, 1, 2].double(), torch.from_numpy(expected), atol=1e-6, rtol=0)
    torch.testing.assert_close(normalise(pixels[None])[0], found)


def test_check_images_counts_by_kind(tmp_path: Path) -> None:
    """Each bad image or mask is counted once under its kind; good ones are not."""
    good = save(tmp_path / "a.png", ramp(40, 60))
    blank = save(tmp_path / "b.png", np.zeros((40, 60), np.uint8))
    small = save(tmp_path / "m.png", ramp(10, 10))
    records = [
        record(good),
        record(good, good),
        record(good, small),
        record(good, tmp_path / "no.png"),
        record(blank),
        record(tmp_path / "no.png"),
    ]
    found = check_images([Patient("p", tuple(records))], TASK)
    assert (found.num_images, found.num_unreadable, found.num_bad_masks) == (6, 2, 2)
    assert found.kinds == {"image_empty": 1, "image_missing": 1, "mask_missing": 1, "mask_size": 1}
