"""What does a reader at a light box see? Stored values and their header come in, grey values 0..255 go out.

Rescale or modality table, VOI table or window, photometric interpretation and padding, in this order. An element that
is there but empty counts as absent, half a rescale as completed by slope 1 or intercept 0. Whatever cannot be applied
raises. Sources: DICOM PS3.3 C.7.6.3, C.8.11.3, C.11.1, C.11.2, C.11.6.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom import Dataset
from pydicom.multival import MultiValue

from shared.data.dicom.lookup_tables import first_table
from shared.data.dicom.stored_values import in_stored_values
from shared.data.image_problems import image_error
from shared.data.pictures.contrast import black_and_white

Grey = npt.NDArray[np.uint8]
Numbers = npt.NDArray[Any]
Bools = npt.NDArray[np.bool_]
MAX_LEVELS = 1 << 16  # of stored values, which have 16 bits at most
BAND = 1 << 20  # pixels at a time, where a picture of them would take eight bytes each
SHAPES = {"MONOCHROME1": {"", "INVERSE"}, "MONOCHROME2": {"", "IDENTITY"}}  # of PresentationLUTShape


def shown(stored: Numbers, dataset: Dataset) -> Grey:
    """Map stored values (H, W) to grey values, by a table of the values that are there.

    Errors: `ImageError` image_inverted; ValueError and others for what cannot be applied.
    """
    if text(dataset, "PresentationLUTShape") not in SHAPES[text(dataset, "PhotometricInterpretation")]:
        raise image_error("image_inverted")
    low, high = int(stored.min()), int(stored.max())
    if high - low >= MAX_LEVELS:
        raise ValueError("more than 16 bits")
    flat = stored.reshape(-1)
    counts = np.zeros(high - low + 1, np.int64)
    bands = [slice(start, start + BAND) for start in range(0, flat.size, BAND)]
    for band in bands:
        counts += np.bincount(flat[band].astype(np.int64) - low, minlength=counts.size)
    there = np.flatnonzero(counts)
    table = np.zeros(counts.shape, np.uint8)
    table[there] = _grey(there + low, counts[there], dataset)
    grey = np.empty(flat.shape, np.uint8)
    for band in bands:
        grey[band] = table[flat[band].astype(np.int64) - low]
    return grey.reshape(stored.shape)


def text(dataset: Dataset, keyword: str) -> str:
    """Return a code string; "" where it is absent or empty."""
    return str(dataset.get(keyword) or "").strip().upper()


def _grey(stored: Numbers, counts: Numbers, dataset: Dataset) -> Grey:
    """Map rising stored values, of which there are so many each, to grey values."""
    padding = _padding(stored, dataset)
    values, floor = _rescaled(stored, dataset)
    share = _windowed(values, floor, dataset)
    if share is None:
        low, high = _ends(values, counts, padding, dataset)
        share = (values - low) / ((high - low) or 1)
    share = share.clip(0, 1)
    if text(dataset, "PhotometricInterpretation") == "MONOCHROME1":
        share = 1 - share
    if not np.isfinite(share).all():
        raise ValueError("a rescale that is no number")
    grey: Grey = np.rint(255 * share).astype(np.uint8)
    grey[padding] = 0
    return grey


def _rescaled(stored: Numbers, dataset: Dataset) -> tuple[Numbers, float]:
    """Apply the modality table or the rescale; returns values and the lowest that there might be."""
    table = first_table(dataset, "ModalityLUTSequence")
    if table is not None:
        return table.of(stored, in_stored_values(table.first, dataset)).astype(float), 0.0
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    slope, intercept = 1.0 if slope is None else slope, 0.0 if intercept is None else intercept
    if slope == 0:
        raise ValueError("a slope of 0")
    bits, signed = int(dataset.BitsStored), bool(dataset.PixelRepresentation)
    ends = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    return stored * slope + intercept, min(end * slope + intercept for end in ends)


def _windowed(values: Numbers, floor: float, dataset: Dataset) -> Numbers | None:
    """Apply the first VOI table or window: 0 is black, 1 white; None where there is none."""
    table = first_table(dataset, "VOILUTSequence")
    if table is not None:
        first = table.first & 0xFFFF  # a sign only where values may have one, whatever its VR says
        first -= 1 << 16 if first >= 1 << 15 and floor < 0 else 0
        black, white = table.ends()
        return (table.of(np.rint(values).astype(np.int64), first) - black) / (white - black)
    window = _window(dataset)
    if window is None:
        return None
    center, width = window
    function = text(dataset, "VOILUTFunction") or "LINEAR"
    if width < 0 or function not in {"LINEAR", "LINEAR_EXACT", "SIGMOID"}:
        raise ValueError("no such window")
    if function == "SIGMOID":
        with np.errstate(over="ignore"):  # a sigmoid this far out
            return np.asarray(1 / (1 + np.exp(-4 * (values - center) / width)))
    if function == "LINEAR_EXACT":
        return (values - center) / width + 0.5
    if width < 1:
        raise ValueError("a window narrower than 1")
    if width == 1:
        return (values > center - 0.5).astype(float)
    return (values - (center - 0.5)) / (width - 1) + 0.5


def _window(dataset: Dataset) -> tuple[float, float] | None:
    """Return the first centre and width; None where one is absent or empty, or the width is 0."""
    center, width = number(dataset, "WindowCenter"), number(dataset, "WindowWidth")
    return None if center is None or not width else (center, width)


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first value of a decimal string; None where it is absent or empty."""
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):
        value = value[0] if value else None
    return None if value is None or str(value).strip() == "" else float(value)


def _ends(values: Numbers, counts: Numbers, padding: Bools, dataset: Dataset) -> tuple[float, float]:
    """Return the values of black and white where no window says them: 8 bits are shown as they are."""
    plain = dataset.BitsStored == 8 and not dataset.PixelRepresentation
    if plain and first_table(dataset, "ModalityLUTSequence") is None:
        of_ends, _ = _rescaled(np.array([0, 255]), dataset)
        return float(of_ends.min()), float(of_ends.max())
    seen = slice(None) if padding.all() else ~padding
    order = np.argsort(values[seen], kind="stable")
    return black_and_white(values[seen][order], counts[seen][order])


def _padding(stored: Numbers, dataset: Dataset) -> Bools:
    """Say where there is no picture, only fill (DICOM PS3.3 C.7.5.1.1.2)."""
    one = number(dataset, "PixelPaddingValue")
    if one is None:
        return np.zeros(stored.shape, bool)
    other = number(dataset, "PixelPaddingRangeLimit")
    ends = (in_stored_values(int(end), dataset) for end in (one, one if other is None else other))
    low, high = sorted(ends)
    inside: Bools = (stored >= low) & (stored <= high)
    return inside
