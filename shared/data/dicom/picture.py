"""One DICOM file as a picture: a path comes in, 8-bit grey as a reader at a light box sees it goes out.

Of the file only what the picture needs is parsed: no name, identifier, date or free text is ever in memory here.
Errors carry a word and a sentence of ours, never a value, a path or pydicom's own text, which may quote a tag.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from PIL import Image
from pydicom import Dataset, config, dcmread
from pydicom.uid import UID, AllTransferSyntaxes

from shared.config.naming import TextRule
from shared.data.burned_in_text import num_suspects
from shared.data.dicom.beginning import begins_as_dicom, with_syntax
from shared.data.dicom.grey import Grey, shown, text
from shared.data.dicom.limits import check_dicom_file, check_dicom_pixels, check_dicom_size
from shared.data.dicom.stored_values import OVERLAY_TAGS, stored_values
from shared.data.dicom.syntaxes import can_decode
from shared.data.image_problems import ImageError, image_error
from shared.data.pictures.frame_codecs import load_frame_codecs
from shared.data.pictures.limits import TooLargeError

config.settings.reading_validation_mode = config.IGNORE  # once: values are checked by what reads them
T = TypeVar("T")
TAGS: list[Any] = [
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "VOILUTSequence", "PatientOrientation", "BurnedInAnnotation", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "PixelData", "PresentationLUTShape", "SOPClassUID", *OVERLAY_TAGS,
]  # fmt: skip


def open_dicom(path: Path, text_rule: TextRule) -> Image.Image:
    """Return the picture (H, W) as mode L: first window, MONOCHROME1 inverted, patient's head up and left side right.

    Window or VOI table map to the whole grey range; without one, more than 8 bits are scaled between the picture's
    own darkest and brightest value, padding and far outliers left out (`shared/data/pictures/contrast.py`). Pixels
    that are not square stay as stored: a picture is squashed to a square in any case, which takes its aspect out.
    Sources: DICOM PS3.3 C.7.6.3, C.8.11.3, C.11.1, C.11.2. Errors: `ImageError` with one of the words in
    `shared/data/image_problems.py`.
    """
    parsed(lambda: check_dicom_file(path))
    dataset = parsed(lambda: with_syntax(dcmread(path, force=True, specific_tags=list(TAGS))))
    parsed(lambda: _refuse_unfit(dataset))
    flag = parsed(lambda: str(dataset.get("BurnedInAnnotation", "")).strip().upper())
    if text_rule != "allow" and flag == "YES":
        raise image_error("image_burned_in")
    parsed(lambda: check_dicom_pixels(dataset))
    stored = parsed(lambda: stored_values(dataset))
    grey = parsed(lambda: shown(stored, dataset), "image_window")
    if grey.min(initial=255) >= grey.max(initial=0):
        raise image_error("image_empty")
    upright = _upright(grey, parsed(lambda: dataset.get("PatientOrientation")))
    if text_rule == "refuse" and num_suspects(upright):
        raise image_error("image_text")
    return Image.fromarray(upright)


def _asked(job: Mapping[str, str]) -> Image.Image:
    return open_dicom(Path(job["file"]), cast(TextRule, job["text_rule"]))


def load_codecs() -> None:
    """Load what is otherwise loaded with the first picture of a transfer syntax."""
    for syntax in AllTransferSyntaxes:
        can_decode(syntax, 8)
    load_frame_codecs()


OPENERS = {"dicom": _asked}  # for shared/data/decoding/worker.py


def is_dicom(path: Path) -> bool:
    """Say whether a file begins as DICOM files do; False where it cannot be read, or is a pipe or device."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return begins_as_dicom(file.read(132))
    except (OSError, ValueError):  # a ValueError for a NUL in the path
        return False


def parsed(read: Callable[[], T], kind: str = "image_unreadable") -> T:
    """Let pydicom read silently; whatever it raises becomes an `ImageError` that remembers nothing of it."""
    with np.errstate(all="ignore"):  # of this thread
        try:
            return read()
        except ImageError:
            raise
        except FileNotFoundError:
            kind = "image_missing"
        except TooLargeError:
            kind = "image_too_large"
        except Exception:  # noqa: BLE001, S110 - parsers and codecs raise anything, and their words may quote a tag
            pass
    raise image_error(kind)  # outside: no context that holds the cause


def _refuse_unfit(dataset: Dataset) -> None:
    """Refuse what is no single grey picture of 8 to 16 bits, or is stored in a way nothing here can decode."""
    if "PixelData" not in dataset:
        raise image_error("image_no_pixels")
    if (
        text(dataset, "PhotometricInterpretation") not in {"MONOCHROME1", "MONOCHROME2"}
        or dataset.get("SamplesPerPixel", 1) != 1
    ):
        raise image_error("image_not_grey")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise image_error("image_frames")
    if not 8 <= int(dataset.get("BitsStored") or 0) <= 16:
        raise image_error("image_depth")
    check_dicom_size(dataset)
    if not can_decode(UID(dataset.file_meta.get("TransferSyntaxUID", "")), int(dataset.BitsStored)):
        raise image_error("image_syntax")


def _upright(grey: Grey, orientation: Sequence[str] | str | None) -> Grey:
    r"""Turn a frontal picture (H, W) so that rows run to the patient's left and columns to the feet.

    `orientation` is (0020,0020): where rows and columns run, such as L\F; only the main direction of each counts
    (DICOM PS3.3 C.7.6.1.1.1). Without two known directions the picture stays as it is stored.
    """
    if orientation is None or isinstance(orientation, str) or len(orientation) != 2:
        return grey
    along_row, along_column = (str(part).strip().upper()[:1] for part in orientation)
    if along_row in {"H", "F"} and along_column in {"L", "R", "A", "P"}:
        grey, along_row, along_column = grey.T, along_column, along_row
    if along_column == "H":
        grey = grey[::-1]
    if along_row == "R":
        grey = grey[:, ::-1]
    return np.ascontiguousarray(grey)
