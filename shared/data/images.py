"""Load one image as a model sees it: a record comes in, pixels and masks of one geometry go out.

Pixels never leave the hospital. The X-ray is squashed to a square, not padded: in the public packs the
aspect ratio goes with the class, so padding would draw the label into the picture. The squash hides that
only in part (ribs look flatter), and the audit must still look for it.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

from shared.config.study import Task
from shared.data.ahead import ahead
from shared.data.decoding.pool import Decoder, UndecodedError
from shared.data.dicom.picture import is_dicom
from shared.data.image_problems import ImageError, advice_on, image_error, makes_unusable
from shared.data.medmnist import npz_row
from shared.data.patients import IMAGE_SUFFIXES, ImageRecord, Patient
from shared.errors import RoundsError

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]  # left, top, right, bottom; may reach over the border
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as timm's weights expect
REGION_SHARE = 0.5  # a pixel is in a region when at least this share of it is
LESION_SHARE = 0.15  # lower, or the smallest lesions vanish when the picture is made small
DISC_LEVEL = 0.12  # brightness at which the fundus begins, as a share of the picture's own bright level


@dataclass(frozen=True)
class ImageProblems:
    """Counts of what is wrong with a site's images; stays at the site."""

    num_images: int
    num_unreadable: int
    num_bad_masks: int
    kinds: dict[str, int]

    def with_left_out(self, kinds: Mapping[str, int]) -> Self:
        """Add records that reading the source left out; those that cannot be used count as unreadable images."""
        unusable = sum(count for kind, count in kinds.items() if makes_unusable(kind))
        together = dict(sorted((Counter(self.kinds) + Counter(kinds)).items()))
        return replace(
            self,
            num_images=self.num_images + unusable,
            num_unreadable=self.num_unreadable + unusable,
            kinds=together,
        )


def load_pixels(record: ImageRecord, task: Task) -> Pixels:
    """Load (S, S, 3) uint8 with S = task.image_size; grey is replicated, the aspect ratio is not kept.

    Enlarged by bicubic interpolation, reduced by area averages. With crop field_of_view the picture is first
    cut to the square around the bright disc, found in this picture alone.
    Errors: `ImageError` for a file that is missing, unreadable or empty (no area, one grey value).
    """
    return fitted(open_image(record), task)


def fitted(image: Image.Image, task: Task) -> Pixels:
    """Bring an opened image to the (S, S, 3) uint8 of `load_pixels`."""
    return _square(image, _box(image, task), task)


def load_mask(
    record: ImageRecord, task: Task, which: Literal["mask", "lesion_mask"] = "mask"
) -> npt.NDArray[np.bool_] | None:
    """Load a mask (S, S) bool in the geometry of `load_pixels`; None when the record names none.

    A pixel is on when half of it is (15 % for lesions, which are small).
    Errors: `ImageError` for a missing or unreadable mask or one of another size than its image.
    """
    named = record.mask if which == "mask" else record.lesion_mask
    return None if named is None else fitted_mask(record, open_image(record), task, which)


def fitted_mask(
    record: ImageRecord, image: Image.Image, task: Task, which: Literal["mask", "lesion_mask"] = "mask"
) -> npt.NDArray[np.bool_] | None:
    """Bring a mask of an image that is already open to the (S, S) bool of `load_mask`."""
    path = record.mask if which == "mask" else record.lesion_mask
    return None if path is None else _region(path, which, image.size, _box(image, task), task)


def normalise(pixels: Pixels) -> Tensor:
    """Turn ([N,] H, W, 3) uint8 into ([N,] 3, H, W) float32 with ImageNet mean and deviation."""
    scaled = torch.from_numpy(np.ascontiguousarray(pixels)).float().div_(255)
    return scaled.sub_(torch.tensor(MEAN)).div_(torch.tensor(STD)).movedim(-1, -3).contiguous()


def check_images(patients: Iterable[Patient], task: Task) -> ImageProblems:
    """Decode every image and mask once and count what cannot be used; names nothing."""
    records = [record for patient in patients for record in patient.images]
    kinds = Counter(kind for found in ahead(partial(_problems, task=task), records) for kind in found)
    return ImageProblems(
        num_images=len(records),
        num_unreadable=sum(count for kind, count in kinds.items() if kind.startswith("image")),
        num_bad_masks=sum(count for kind, count in kinds.items() if kind.startswith("mask")),
        kinds=dict(sorted(kinds.items())),
    )


def refused_images(patients: Iterable[Patient], task: Task) -> Iterator[tuple[str, Path]]:
    """Yield (kind, file) of every image that cannot be used, for a person at the hospital who asks which they are."""
    records = [record for patient in patients for record in patient.images]
    for record, found in zip(records, ahead(partial(_problems, task=task), records), strict=True):
        yield from ((kind, record.file) for kind in found)


def _problems(record: ImageRecord, task: Task) -> list[str]:
    try:
        image = open_image(record)
        box = _box(image, task)
        _square(image, box, task)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one image, it is that image's
        return [error.kind if isinstance(error, ImageError) else "image_unreadable"]
    try:
        for path, which in ((record.mask, "mask"), (record.lesion_mask, "lesion_mask")):
            if path is not None:
                _region(path, which, image.size, box, task)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a mask, it is that image's
        return [error.kind if isinstance(error, ImageError) else "mask_unreadable"]
    return []


PICTURES, DICOM_FILES = Decoder("shared.data.pictures.picture"), Decoder("shared.data.dicom.picture")
DIED = {"crash": "decoder", "slow": "decoder", "memory": "too_large", "error": "unreadable"}


def _open_picture(record: ImageRecord) -> Image.Image:
    return _picture(record.file, "image", "file")


def _picture(path: Path, what: str, field: str) -> Image.Image:
    try:
        return PICTURES.open(path, what, field=field)
    except UndecodedError as error:
        kind = f"{what}_{DIED[error.died]}"
        raise ImageError(kind, f"{field} {path}: {advice_on(kind)}") from None


def _open_npz(record: ImageRecord) -> Image.Image:
    if record.index is None:
        raise image_error("image_row")
    return Image.fromarray(npz_row(record.file, record.split, record.index))


def _open_dicom(record: ImageRecord) -> Image.Image:
    try:
        return DICOM_FILES.open(record.file, "dicom", text_rule=record.text_rule)
    except UndecodedError as error:
        raise image_error(f"image_{DIED[error.died]}") from None


def _open_other(record: ImageRecord) -> Image.Image:
    # a missing file without a suffix may have been DICOM, whose errors name no path
    dicom = is_dicom(record.file) or not record.file.is_file()
    return (_open_dicom if dicom else _open_picture)(record)


# How to open a file, by its suffix. Files of other suffixes, or none, are DICOM when they begin as such, else Pillow's.
OPENERS: dict[str, Callable[[ImageRecord], Image.Image]] = {
    ".npz": _open_npz,
    **dict.fromkeys((".dcm", ".dicom"), _open_dicom),
    **dict.fromkeys(IMAGE_SUFFIXES, _open_picture),
}


def open_image(record: ImageRecord) -> Image.Image:
    """Open as 8-bit RGB in full size; `ImageError` as for `load_pixels`."""
    try:
        opened = OPENERS.get(record.file.suffix.lower(), _open_other)(record)
        grey = opened if opened.mode == "L" else opened.convert("L")
        low, high = grey.getextrema() if 0 not in grey.size else (0, 0)
        image = opened if opened.mode == "RGB" else opened.convert("RGB")
    except RoundsError:
        raise
    except Exception as error:  # codecs and files of odd kinds raise anything, and it is this one file's
        raise ImageError("image_unreadable", f"file {record.file} cannot be read; replace it") from error
    if low == high:
        raise ImageError(
            "image_empty", f"image {record.file} holds one grey value only, needed is a picture; replace it"
        )
    return image


def _box(image: Image.Image, task: Task) -> Box:
    return _disc(image) if task.crop == "field_of_view" else (0, 0, *image.size)


def _disc(image: Image.Image) -> Box:
    """Bounding square of the bright disc of a fundus photograph; the whole picture when there is none.

    The disc is the largest of what is bright: a printed date or a letter in a corner lies apart from it and is smaller.
    """
    red = np.asarray(image).max(axis=2)
    bright = red > max(8.0, DISC_LEVEL * float(np.quantile(red, 0.95)))
    _keep_largest(bright)
    columns = np.flatnonzero(bright.mean(axis=0) > 0.05)
    rows = np.flatnonzero(bright.mean(axis=1) > 0.05)
    if columns.size == 0 or rows.size == 0:
        return (0, 0, *image.size)
    left, right, top, bottom = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
    side = int(max(right - left, bottom - top))
    x, y = (int(left) + int(right) - side) // 2, (int(top) + int(bottom) - side) // 2
    return (x, y, x + side, y + side)


def _keep_largest(bright: npt.NDArray[np.bool_]) -> None:
    """Blank (H, W) outside the box of its largest connected part, found in a picture of at most 256 pixels a side."""
    step = -(-max(bright.shape) // 256)
    labels, num_parts = ndimage.label(bright[::step, ::step], np.ones((3, 3)))
    if num_parts < 2:
        return
    largest = np.argmax(np.bincount(labels.ravel())[1:])
    down, across = ndimage.find_objects(labels)[largest]
    bright[: max(down.start - 1, 0) * step] = False
    bright[down.stop * step :] = False
    bright[:, : max(across.start - 1, 0) * step] = False
    bright[:, across.stop * step :] = False


def _square(image: Image.Image, box: Box, task: Task) -> Pixels:
    part = image.crop(box)  # beyond the border is black
    size = (task.image_size, task.image_size)
    reduces = min(part.size) >= task.image_size
    resized = part.resize(size, Image.Resampling.BOX if reduces else Image.Resampling.BICUBIC)
    return np.array(resized, dtype=np.uint8)


def _region(path: Path, which: str, size: tuple[int, int], box: Box, task: Task) -> npt.NDArray[np.bool_]:
    mask = _picture(path, "mask", which)
    if mask.size != size:
        raise ImageError(
            "mask_size",
            f"{which} {path} is {mask.width}x{mask.height}, allowed is its image's "
            f"{size[0]}x{size[1]}; redraw it",
        )
    on = mask.point(lambda grey: 255 if grey > 127 else 0).crop(box)
    share = np.asarray(on.resize((task.image_size, task.image_size), Image.Resampling.BOX)) / 255
    lesion = which == "lesion_mask" or task.crop == "field_of_view"
    inside: npt.NDArray[np.bool_] = share >= (LESION_SHARE if lesion else REGION_SHARE)
    return inside
