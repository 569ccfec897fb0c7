"""Which values of a deep picture are black and white, where nobody says? The same for DICOM and for pictures."""

from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[Any]
TAIL = 0.01  # share of pixels at each end that may be cut off, where they lie far outside
FAR = 4  # times the width between the tails


def black_and_white(values: Numbers, counts: Numbers | None = None) -> tuple[float, float]:
    """Return the darkest and the brightest of some values, however many pixels have each; far outliers are left out.

    Far is further below the first, or above the last, hundredth of pixels than four times what these two are apart: a
    dead or hot pixel or a small marker, beside which the rest would be black. At most a hundredth of pixels is left
    out at each end.
    """
    if counts is None:
        low, high = float(values.min()), float(values.max())
        first, last = (float(one) for one in _percentiles(values))
    else:
        low, high = float(values[0]), float(values[-1])
        share = np.cumsum(counts, dtype=np.float64) / counts.sum(dtype=np.float64)
        first = float(values[np.searchsorted(share, TAIL)])
        last = float(values[np.searchsorted(share, 1 - TAIL)])
    width = FAR * (last - first)
    if width <= 0 or (low >= first - width and high <= last + width):
        return low, high
    inside = values[(values >= first - width) & (values <= last + width)]
    return float(inside.min()), float(inside.max())


def _percentiles(values: Numbers) -> Numbers:
    """Return the values at the two tails, by partition of a copy."""
    flat = values.reshape(-1)
    places = [int(TAIL * (flat.size - 1)), int((1 - TAIL) * (flat.size - 1))]
    return np.partition(flat, places)[places]


def eight_bit(pixels: Numbers) -> npt.NDArray[np.uint8]:
    """Scale pixels (H, W[, channels]) of more than 8 bits, all channels alike; ValueError where one is not finite.

    A picture of 8 bits that was widened to 16, by 257 or 256, is shown as it was: the same picture looks the same.
    Others are scaled between black and white: twelve bits in sixteen are common.
    """
    if pixels.dtype == np.uint8:
        return pixels
    if not np.isfinite(pixels).all():
        raise ValueError("a pixel is not finite")
    for step in (257, 256) if pixels.dtype == np.uint16 else ():
        if not any((row % step).any() for row in pixels):
            return (pixels // step).astype(np.uint8)
    low, high = black_and_white(pixels) if pixels.size else (0.0, 0.0)
    height = high - low
    scaled = np.empty(pixels.shape, np.uint8)
    for part, wide in zip(
        scaled, pixels, strict=True
    ):  # a row at a time: in float64 all take eight bytes a pixel
        part[:] = ((wide.astype(np.float64) - low) * (255 / height if height > 0 else 0)).clip(0, 255)
    return scaled
