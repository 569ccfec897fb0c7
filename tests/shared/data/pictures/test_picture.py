"""Rules of showing PNG, JPEG, BMP and TIFF: every kind as it is meant, or refused with a word of its own."""

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, PngImagePlugin

from shared.config.study import Task
from shared.data.image_problems import PROBLEMS, ImageError
from shared.data.images import check_images, load_mask, open_image
from shared.data.patients import ImageRecord, Patient
from shared.data.pictures.picture import decoded
from tests.dicom_files import picture

GREY = picture(top=255).astype(np.uint8)  # (60, 80)
DEEP = picture(top=4095)  # 12 bits
TASK = Task(classes=("a", "b"), image_size=40)
TURNED = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.T,
    6: lambda p: p[:, ::-1].T,
    7: lambda p: p[::-1, ::-1].T,
    8: lambda p: p[::-1].T,
}  # how an upright picture is stored, so that a camera's tag of this number turns it upright


def record(file: Path, mask: Path | None = None) -> ImageRecord:
    """One record of an image."""
    return ImageRecord(file, 0, "s", "p", "", mask)


def shown(path: Path) -> np.ndarray:
    """Return a grey picture (H, W) as whole numbers."""
    pixels = np.asarray(open_image(record(path))).astype(int)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


def kind_of(path: Path) -> str:
    """Return the word under which a picture is refused."""
    with pytest.raises(ImageError, match=r".*; .*") as caught:
        open_image(record(path))
    assert caught.value.kind in PROBLEMS
    return caught.value.kind


def scaled(values: np.ndarray) -> np.ndarray:
    """Map the darkest to 0 and the brightest to 255."""
    return 255 * (values.astype(float) - values.min()) / (float(values.max()) - float(values.min()))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_and_its_mask_stand_upright(tmp_path: Path, name: str, orientation: int) -> None:
    """All eight orientations of EXIF and TIFF are followed, by images and by masks."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 98} if name.endswith("jpg") else {}
    for file, upright in ((tmp_path / name, GREY), (tmp_path / f"m{name}", (GREY > 127) * np.uint8(255))):
        Image.fromarray(np.ascontiguousarray(TURNED[orientation](upright))).save(file, exif=exif, **options)
    assert np.abs(shown(tmp_path / name) - GREY).max() <= 6
    mask = decoded(tmp_path / f"m{name}", "mask", "mask")
    assert ((np.asarray(mask) > 0) == (GREY > 127)).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_in_any_number_of_channels_look_as_in_one(
    tmp_path: Path, name: str, channels: int
) -> None:
    """12 bits in 16, as grey or colour, with opaque alpha or without, run from black to white."""
    deep = np.dstack([DEEP] * channels)
    if channels in {2, 4}:
        deep[..., -1] = 65535
    if name.endswith("png"):
        (tmp_path / name).write_bytes(imagecodecs.png_encode(deep[..., 0] if channels == 1 else deep))
    else:
        kind = "rgb" if channels > 2 else "minisblack"
        options = {"extrasamples": ["unassalpha"]} if channels in {2, 4} else {}
        pixels = deep[..., 0] if channels == 1 else deep
        tifffile.imwrite(tmp_path / name, pixels, photometric=kind, planarconfig="contig", **options)
    assert np.abs(shown(tmp_path / name) - scaled(DEEP)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.float32])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_a_tiff_of_any_sample_is_shown_as_it_is_meant(
    tmp_path: Path, dtype: type, compression: str | None, photometric: str
) -> None:
    """Signed, unsigned and floating samples, plain or compressed; where 0 is white the negative is shown."""
    offset = -128 if dtype is np.int8 else -1000 if dtype in {np.int16, np.float32} else 0
    values = ((GREY if np.dtype(dtype).itemsize == 1 else DEEP).astype(int) + offset).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", values, compression=compression, photometric=photometric)
    expected = scaled(values)
    found = shown(tmp_path / "a.tif")
    assert np.abs(found - (expected if photometric == "minisblack" else 255 - expected)).max() <= 1


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_planes_of_a_tiff_are_one_picture(tmp_path: Path, dtype: type) -> None:
    """Red, green and blue in planes of their own look like pixels of three."""
    rgb = np.dstack([DEEP, DEEP[::-1], DEEP[:, ::-1]]) // (16 if dtype is np.uint8 else 1)
    tifffile.imwrite(tmp_path / "a.tif", rgb.astype(dtype), photometric="rgb")
    tifffile.imwrite(
        tmp_path / "b.tif", np.moveaxis(rgb, -1, 0).astype(dtype), photometric="rgb", planarconfig="separate"
    )
    pixels = [np.asarray(open_image(record(tmp_path / name))) for name in ("a.tif", "b.tif")]
    np.testing.assert_array_equal(*pixels)
    assert np.abs(pixels[0] - (rgb if dtype is np.uint8 else scaled(rgb))).max() <= 1


def test_a_picture_of_one_bit_is_black_and_white(tmp_path: Path) -> None:
    """As PNG and as TIFF, whichever of 0 and 1 is white there."""
    black_and_white = Image.fromarray((GREY > 127) * np.uint8(255)).convert("1")
    for name, options in (("a.png", {}), ("a.tif", {}), ("b.tif", {"tiffinfo": {262: 0}})):
        black_and_white.save(tmp_path / name, **options)
        np.testing.assert_array_equal(shown(tmp_path / name), (GREY > 127) * 255)


def test_one_picture_looks_the_same_in_8_and_16_bits(tmp_path: Path) -> None:
    """Widened by 257 or by 256, a dull picture stays as dull as it is."""
    dull = GREY // 4 + 90
    for number, deep in enumerate((dull, dull.astype(np.uint16) * 257, dull.astype(np.uint16) * 256)):
        Image.fromarray(deep).save(tmp_path / f"{number}.png")
        np.testing.assert_array_equal(shown(tmp_path / f"{number}.png"), dull)


def test_one_hot_pixel_does_not_blacken_a_deep_picture(tmp_path: Path) -> None:
    """A pixel at 65535 is white, and the rest is what it is without it."""
    hot = DEEP.copy()
    hot[30, 40] = 65535
    Image.fromarray(hot).save(tmp_path / "a.png")
    found = shown(tmp_path / "a.png")
    assert found[30, 40] == 255
    found[30, 40] = scaled(DEEP)[30, 40]
    assert np.abs(found - scaled(DEEP)).max() <= 1


def save_kinds_with_holes(folder: Path) -> list[Path]:
    """Write one picture with a transparent corner in every way there is."""
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:5, :5] = 100
    Image.fromarray(np.dstack([GREY, alpha])).save(folder / "la.png")
    Image.fromarray(np.dstack([GREY, GREY, GREY, alpha])).save(folder / "rgba.png")
    Image.fromarray(GREY).save(folder / "key.png", transparency=int(GREY[0, 0]))
    Image.fromarray(GREY).convert("P").save(folder / "palette.png", transparency=int(GREY[0, 0]))
    tifffile.imwrite(
        folder / "a.tif", np.dstack([GREY, alpha]), photometric="minisblack", extrasamples=["assocalpha"]
    )
    return sorted(folder.iterdir())


def test_transparent_pixels_are_refused(tmp_path: Path) -> None:
    """What a viewer shows there is its own choice; alpha, a colour key and a palette's alpha are one word."""
    files = save_kinds_with_holes(tmp_path)
    assert [kind_of(file) for file in files] == ["image_alpha"] * 5


def test_several_pictures_in_one_file_are_refused(tmp_path: Path) -> None:
    """Pages of a TIFF, frames of a PNG, and the second picture that telephones put behind a JPEG."""
    first, second = Image.fromarray(GREY), Image.fromarray(GREY[::-1])
    for name in ("a.tif", "a.png", "a.jpg"):
        kind = "MPO" if name == "a.jpg" else None
        first.save(tmp_path / name, format=kind, save_all=True, append_images=[second])
        assert kind_of(tmp_path / name) == "image_frames"
        with pytest.raises(ImageError) as caught:
            decoded(tmp_path / name, "mask", "mask")
        assert caught.value.kind == "mask_frames"


def test_a_small_copy_beside_a_page_is_no_second_picture(tmp_path: Path) -> None:
    """A page that says it is a reduced copy (NewSubfileType 1) is passed over."""
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(GREY, photometric="minisblack")
        writer.write(np.ascontiguousarray(GREY[::4, ::4]), photometric="minisblack", subfiletype=1)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), GREY)


@pytest.mark.parametrize("kind", ["EPS", "GIF", "WEBP", "PPM", "ICNS", "JPEG2000", "TGA"])
def test_other_formats_are_refused_whatever_their_name_says(tmp_path: Path, kind: str) -> None:
    """Only PNG, JPEG, BMP and TIFF are opened, by content."""
    Image.fromarray(np.dstack([GREY] * 3)).save(tmp_path / "a.png", format=kind)
    assert kind_of(tmp_path / "a.png") == "image_unreadable"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp"])
def test_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    """Half a file, closed by its format's end or not, is not half a picture."""
    grain = (GREY // 2 + np.random.default_rng(0).integers(0, 100, GREY.shape)).astype(np.uint8)
    Image.fromarray(grain).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    end = {"a.jpg": b"\xff\xd9", "a.png": content[-12:]}.get(name, b"")
    for cut in (content[: len(content) // 2], content[: len(content) // 2] + end):
        (tmp_path / name).write_bytes(cut)
        assert kind_of(tmp_path / name) == "image_unreadable"


@pytest.mark.parametrize("deep", [False, True])
def test_a_flipped_bit_in_a_png_is_refused(tmp_path: Path, deep: bool) -> None:
    """Each chunk has a check sum: no bit is taken unchecked, by either of the two decoders."""
    pixels = np.dstack([DEEP] * 3) if deep else GREY
    whole = imagecodecs.png_encode(pixels, level=0)
    for at in range(20, len(whole) - 12, len(whole) // 25):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        (tmp_path / "a.png").write_bytes(damaged)
        assert kind_of(tmp_path / "a.png") == "image_unreadable"


def test_a_strip_that_inflates_past_its_size_takes_no_room(tmp_path: Path) -> None:
    """A 16-bit TIFF of 60 x 80 whose one strip inflates to 200 MB is refused, or read as far as its size."""
    tifffile.imwrite(tmp_path / "a.tif", DEEP, compression="zlib", photometric="minisblack")
    content = (tmp_path / "a.tif").read_bytes()
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        offset, tag = file.pages.first.dataoffsets[0], file.pages.first.tags[279]
    bomb = zlib.compress(bytes(200_000_000), 9)
    path = tmp_path / "b.tif"
    path.write_bytes(content[:offset] + bomb)
    with path.open("r+b") as file:
        file.seek(tag.valueoffset)
        file.write(struct.pack("<I", len(bomb)) if tag.dtype == 4 else struct.pack("<H", 65535))
    assert kind_of(path) in {"image_unreadable", "image_empty"}


INSIDE = GREY > 127


@pytest.mark.parametrize(
    "pixels",
    [
        INSIDE * np.uint8(1),
        INSIDE * np.uint8(255),
        INSIDE * np.uint8(40),
        INSIDE * np.uint16(1),
        INSIDE * np.uint16(65535),
        np.dstack([INSIDE * np.uint8(128), INSIDE * np.uint8(0), INSIDE * np.uint8(0)]),
        np.dstack([INSIDE * np.uint8(0), INSIDE * np.uint8(90), INSIDE * np.uint8(200)]),
        np.dstack([np.full((60, 80, 3), 255, np.uint8), INSIDE * np.uint8(255)]),
        np.dstack([INSIDE * np.uint8(255)] * 3 + [np.full((60, 80), 255, np.uint8)]),
    ],
)
def test_black_and_one_other_value_are_off_and_on(tmp_path: Path, pixels: np.ndarray) -> None:
    """0 and 1, 0 and 255, black and a colour, or alpha over one colour: all are the same mask."""
    path = tmp_path / "m.png"
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(pixels)))
    np.testing.assert_array_equal(np.asarray(decoded(path, "mask", "mask")) > 0, INSIDE)


def test_a_mask_of_a_palette_is_on_where_its_colour_is_not_black(tmp_path: Path) -> None:
    """Number 1 of a palette, whatever its colour."""
    mask = Image.fromarray(INSIDE * np.uint8(1)).convert("P")
    mask.putpalette([0, 0, 0, 128, 0, 0])
    mask.save(tmp_path / "m.png")
    np.testing.assert_array_equal(np.asarray(decoded(tmp_path / "m.png", "mask", "mask")) > 0, INSIDE)


def test_a_soft_mask_is_cut_at_the_middle(tmp_path: Path) -> None:
    """Grey from black to white is on above 127."""
    Image.fromarray(GREY).save(tmp_path / "m.png")
    np.testing.assert_array_equal(np.asarray(decoded(tmp_path / "m.png", "mask", "mask")) > 0, INSIDE)


@pytest.mark.parametrize("level", [0, 255, 1])
def test_a_mask_of_one_value_is_empty_or_full(tmp_path: Path, level: int) -> None:
    """All 0 is empty; all of another value is full."""
    Image.fromarray(np.full((60, 80), level, np.uint8)).save(tmp_path / "m.png")
    assert (np.asarray(decoded(tmp_path / "m.png", "mask", "mask")) > 0).mean() == (level > 0)


@pytest.mark.parametrize(
    "pixels",
    [
        (GREY // 100).astype(np.uint8),
        (GREY // 10).astype(np.uint8),
        np.where(INSIDE, np.uint8(200), np.uint8(100)),
        np.dstack([GREY, GREY[::-1], np.zeros_like(GREY)]),
        np.dstack([GREY, GREY, GREY, GREY]),
    ],
)
def test_a_mask_that_does_not_say_what_is_inside_is_refused_and_counted(
    tmp_path: Path, pixels: np.ndarray
) -> None:
    """Numbers of several regions, faint grey, two greys, colours, alpha over a picture: one word, told by check."""
    Image.fromarray(GREY).save(tmp_path / "a.png")
    Image.fromarray(np.ascontiguousarray(pixels)).save(tmp_path / "m.png")
    one = record(tmp_path / "a.png", tmp_path / "m.png")
    assert check_images([Patient("p", (one,))], TASK).kinds == {"mask_values": 1}
    with pytest.raises(ImageError, match=r"^mask .*; save it as 0 and 255$"):
        load_mask(one, TASK)


def test_a_printed_label_does_not_move_the_crop(tmp_path: Path) -> None:
    """A white box in the corner of a fundus photograph: the crop is that of the disc alone."""
    y, x = np.mgrid[:333, :560]
    disc = (y - 166) ** 2 + (x - 268) ** 2 < 127**2
    task = Task(classes=("a", "b"), image_size=64, crop="field_of_view")
    for name in ("a.png", "b.png"):
        photo = np.zeros((333, 560, 3), np.uint8)
        photo[disc] = (170, 80, 40)
        if name == "b.png":
            photo[2:30, 2:100] = 255
        Image.fromarray(photo).save(tmp_path / name)
        Image.fromarray(disc * np.uint8(255)).save(tmp_path / f"m{name}")
    alone, labelled = (
        load_mask(record(tmp_path / name, tmp_path / f"m{name}"), task) for name in ("a.png", "b.png")
    )
    assert alone is not None
    assert 0.76 < alone.mean() < 0.83  # a disc in its square: pi / 4
    np.testing.assert_array_equal(labelled, alone)


def text_chunk() -> PngImagePlugin.PngInfo:
    """Return what viewers write beside the pixels."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "x")
    return info


def test_what_stands_beside_the_pixels_of_a_png_is_passed_over(tmp_path: Path) -> None:
    """A comment and a resolution change nothing."""
    Image.fromarray(GREY).save(tmp_path / "a.png", pnginfo=text_chunk(), dpi=(300, 300))
    np.testing.assert_array_equal(shown(tmp_path / "a.png"), GREY)
