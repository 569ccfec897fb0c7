"""Does anything shine through? Pixels with or without an alpha channel come in."""

from typing import Any

import numpy as np
import numpy.typing as npt

ALPHA_CHANNELS = {2, 4}  # grey and alpha, colour and alpha


def alpha_of(pixels: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return the alpha channel (H, W) of pixels (H, W[, channels]); None where there is none."""
    return pixels[..., -1] if pixels.ndim == 3 and pixels.shape[2] in ALPHA_CHANNELS else None


def is_opaque(pixels: npt.NDArray[Any]) -> bool:
    """Say whether no pixel is transparent in part or whole."""
    alpha = alpha_of(pixels)
    return alpha is None or bool((alpha == np.iinfo(alpha.dtype).max).all())
