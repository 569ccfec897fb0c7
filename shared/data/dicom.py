"""One DICOM file as a picture: a path comes in, 8-bit grey as a reader at a light box sees it goes out.

Of the file only what the picture needs is parsed: no name, identifier, date or free text is ever in memory here.
Errors carry a word and a sentence of ours, never a value, a path or pydicom's own text, which may quote a tag.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom import Dataset, config, dcmread
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut, apply_voi, apply_windowing
from pydicom.pixels.utils import pixel_array
from pydicom.uid import UID, AllTransferSyntaxes, JPEGExtended12Bit

from shared.data.burned_in import num_suspects
from shared.data.dicom_limits import check_dicom_file, check_dicom_pixels, check_dicom_size
from shared.data.image_problems import ImageError, image_error
from shared.data.limits import TooLargeError
from shared.data.records import TextRule

config.settings.reading_validation_mode = config.IGNORE  # once: values are checked by what reads them
T = TypeVar("T")
Grey = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
MAX_LEVELS = 1 << 16  # of stored values, which have 16 bits at most
BAND = 1 << 20  # pixels at a time, where a picture of them would take eight bytes each
CODECS = ("pyjpegls", "pylibjpeg", "pillow", "pydicom", "gdcm")  # the first that decodes a syntax is asked
BEYOND = 1e9  # further than any stored value: what a window makes of it is the end of its range
TAGS = [
    "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns",
    "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit",
    "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "WindowCenter", "WindowWidth", "VOILUTFunction",
    "VOILUTSequence", "PatientOrientation", "BurnedInAnnotation", "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths", "PixelData",
]  # fmt: skip


def open_dicom(path: Path, text_rule: TextRule) -> Image.Image:
    """Return the picture (H, W) as mode L: first window, MONOCHROME1 inverted, patient's head up and left side right.

    Window or VOI table map to the whole grey range; without one, more than 8 bits are scaled between the picture's
    own darkest and brightest value, padding left out. Sources: DICOM PS3.3 C.7.6.3, C.8.11.3, C.11.1, C.11.2.
    Errors: `ImageError` with one of the words in `shared/data/image_problems.py`.
    """
    parsed(lambda: check_dicom_file(path))
    dataset = parsed(lambda: dcmread(path, specific_tags=list(TAGS)))
    parsed(lambda: _refuse_unfit(dataset))
    flag = parsed(lambda: str(dataset.get("BurnedInAnnotation", "")).strip().upper())
    if text_rule != "allow" and flag == "YES":
        raise image_error("image_burned_in")
    parsed(lambda: check_dicom_pixels(dataset))
    stored = parsed(lambda: pixel_array(dataset, index=0, decoding_plugin=_codec(dataset)))
    grey = parsed(lambda: _shown(stored, dataset), "image_window")
    if grey.min(initial=255) >= grey.max(initial=0):
        raise image_error("image_empty")
    upright = _upright(grey, parsed(lambda: dataset.get("PatientOrientation")))
    if text_rule == "refuse" and num_suspects(upright):
        raise image_error("image_text")
    return Image.fromarray(upright)


def _asked(job: Mapping[str, str]) -> Image.Image:
    return open_dicom(Path(job["file"]), cast(TextRule, job["text_rule"]))


def load_codecs() -> None:
    """Load what pydicom loads with the first picture of a transfer syntax."""
    for syntax in AllTransferSyntaxes:
        _can_decode(syntax, 8)


OPENERS = {"dicom": _asked}  # for shared/data/decoding_worker.py


def is_dicom(path: Path) -> bool:
    """Say whether a file begins as DICOM files do; False where it cannot be read, or is a pipe or device."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
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
    photometric = str(dataset.get("PhotometricInterpretation", "")).strip()
    if photometric not in {"MONOCHROME1", "MONOCHROME2"} or dataset.get("SamplesPerPixel", 1) != 1:
        raise image_error("image_not_grey")
    if int(dataset.get("NumberOfFrames") or 1) != 1:
        raise image_error("image_frames")
    if not 8 <= int(dataset.get("BitsStored") or 0) <= 16:
        raise image_error("image_depth")
    check_dicom_size(dataset)
    if not _can_decode(UID(dataset.file_meta.get("TransferSyntaxUID", "")), int(dataset.BitsStored)):
        raise image_error("image_syntax")


def _can_decode(syntax: UID, bits: int) -> bool:
    if not syntax.is_transfer_syntax or syntax.is_private:
        return False
    if not syntax.is_encapsulated:
        return True
    try:
        plugins = get_decoder(syntax).available_plugins
    except NotImplementedError:
        return False
    # of JPEG with 12 bits only libjpeg is capable; its plugin is GPL and comes in only where a hospital installs it
    return "pylibjpeg" in plugins if syntax == JPEGExtended12Bit and bits > 8 else bool(plugins)


def _codec(dataset: Dataset) -> str:
    """Name the codec for a file's transfer syntax, "" where none is needed: GDCM only where nothing else decodes it.

    A damaged file can make GDCM end the whole process, which no other patient's round may depend on.
    """
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    found = get_decoder(syntax).available_plugins if syntax.is_encapsulated else ()
    return next((name for name in CODECS if name in found), "")


def _shown(stored: npt.NDArray[Any], dataset: Dataset) -> Grey:
    """Map stored values (H, W) to grey values 0..255, by a table of the values that are there."""
    low, high = (int(stored.min()), int(stored.max())) if stored.size else (0, 0)
    if not 0 <= high - low < MAX_LEVELS:
        return _grey(stored, dataset)
    flat, offset = stored.reshape(-1), -low
    there = np.zeros(high - low + 1, bool)
    bands = [slice(start, start + BAND) for start in range(0, flat.size, BAND)]
    for band in bands:
        there[flat[band].astype(np.int64) + offset] = True
    table = np.zeros(there.shape, np.uint8)
    table[there] = _grey((np.flatnonzero(there) - offset).astype(stored.dtype), dataset)
    grey = np.empty(flat.shape, np.uint8)
    for band in bands:
        grey[band] = table[flat[band].astype(np.int64) + offset]
    return grey.reshape(stored.shape)


def _grey(stored: npt.NDArray[Any], dataset: Dataset) -> Grey:
    """Map stored values of any shape to grey values 0..255."""
    padding = _padding(stored, dataset)
    values, low, high = _range(apply_modality_lut(stored, dataset), padding, dataset)
    share = ((values - low) / ((high - low) or 1)).clip(0, 1)
    if str(dataset.PhotometricInterpretation).strip() == "MONOCHROME1":
        share = 1 - share
    if not np.isfinite(share).all():
        raise ValueError  # a rescale that is no number
    grey: Grey = np.rint(255 * share).astype(np.uint8)
    grey[padding] = 0
    return grey


def _range(
    values: npt.NDArray[Any], padding: Bools, dataset: Dataset
) -> tuple[npt.NDArray[Any], float, float]:
    """Apply the first VOI table or window; returns values and which of them are black and white."""
    if dataset.get("VOILUTSequence"):
        descriptor = dataset.VOILUTSequence[0].LUTDescriptor
        white = 2.0 ** int(descriptor[2]) - 1
        descriptor[2] = 16  # pydicom counts the entries of an 8-bit table in 8 bits, and wraps
        return apply_voi(np.rint(values).astype(np.int64), dataset), 0.0, white
    if dataset.get("WindowCenter") is not None and dataset.get("WindowWidth") is not None:
        with np.errstate(over="ignore"):  # a sigmoid this far out
            black, white = apply_windowing(np.array([-BEYOND, BEYOND]), dataset)
        return apply_windowing(values, dataset), float(black), float(white)
    if dataset.BitsStored == 8 and not dataset.PixelRepresentation and not dataset.get("ModalityLUTSequence"):
        low, high = sorted(apply_modality_lut(np.array([0, 255], np.uint8), dataset).astype(float))
        return values, float(low), float(high)
    seen = values[~padding] if not padding.all() else values
    return values, float(seen.min()), float(seen.max())


def _padding(stored: npt.NDArray[Any], dataset: Dataset) -> Bools:
    """Say where there is no picture, only fill (DICOM PS3.3 C.7.5.1.1.2)."""
    one = dataset.get("PixelPaddingValue")
    if one is None:
        return np.zeros(stored.shape, bool)
    other = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((int(one), int(one if other is None else other)))
    inside: Bools = (stored >= low) & (stored <= high)
    return inside


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
