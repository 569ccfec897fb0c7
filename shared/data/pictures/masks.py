"""Which pixels of a mask are on? Decoded pixels come in, grey of 0 and 255 goes out, or nothing where none can tell.

Where black and one other value or colour are all there is, the other is on, be it 1 or 255. Grey from black to white,
as smooth edges and JPEG give it, is on above the middle. A mask that stands in the alpha channel over one colour is
taken from there. Anything else, such as numbers of several regions, is refused: which of them is meant is not said.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from shared.data.pictures.alpha import alpha_of, is_opaque

NEAR_GREY = 48  # of 255, between the channels of grey that JPEG has coloured
DARK, LIGHT = 0.25, 0.75  # grey must reach below and above, to be from black to white


def as_mask(pixels: npt.NDArray[Any]) -> npt.NDArray[np.uint8] | None:
    """Return 255 where a mask (H, W[, channels]) of any depth is on, 0 elsewhere (H, W); None where it does not say."""
    alpha = alpha_of(pixels)
    if alpha is not None and not is_opaque(pixels):
        if (pixels[..., :-1] != pixels[0, 0, :-1]).any():
            return None
        values = alpha
    elif pixels.ndim == 2:
        values = pixels
    else:
        values = _one_channel(pixels[..., :1] if pixels.shape[2] == 2 else pixels[..., :3])
    inside = _inside(values)
    return None if inside is None else inside.astype(np.uint8) * np.uint8(255)


def _one_channel(colours: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return grey for near grey, else one number for each colour."""
    if colours.shape[2] == 1:
        return colours[..., 0]
    spread = colours.max(axis=2) - colours.min(axis=2)
    if spread.max(initial=0) <= NEAR_GREY * (np.iinfo(colours.dtype).max // 255):
        return colours[..., 1]
    red, green, blue = np.moveaxis(colours.astype(np.int64), -1, 0)
    # at most two of these are a mask: they span no range from black to white
    codes: npt.NDArray[np.int64] = (red << 32) | (green << 16) | blue
    return codes


def _inside(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    low, high = values.min(), values.max()
    if low >= 0 and (low == high or (low == 0 and ((values == 0) | (values == high)).all())):
        return np.asarray(values > 0)
    white = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1.0
    if 0 <= low <= DARK * white and LIGHT * white <= high <= white:
        return np.asarray(values > white / 2)
    return None
