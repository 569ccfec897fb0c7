"""From a value to a colour: three scales, each fixed for the whole product, so that colours can be compared.

In: values of a map (share of energy, times uniform), or differences of two. Out: RGB with opacity. No scale looks at
the other values of a map: nothing is stretched.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from shared.explain.scale import BRIGHTEST, DIMMEST, FULL_SCALE, HUE, STRONGEST

Floats = npt.NDArray[np.float64]
Layer = npt.NDArray[np.uint8]  # (height, width, 4): red, green, blue, opacity
DIFFERENCE_LIMIT: Final = (
    2.0  # times uniform, at which a difference is bluest or most orange; more looks the same
)
MORE: Final = (190.0, 90.0, 0.0)
LESS: Final = (40.0, 118.0, 205.0)
# cividis (Nunez, Anderton, Renslow 2018, doi 10.1371/journal.pone.0199239) at 33 even steps: monotone in lightness,
# and nearly the same for every kind of colour vision
_CIVIDIS: Final = (
    "00224e 00285b 002e6a 043371 1a386f 273e6e 32436d 3b496c 434e6c 4b546c 52596d 5a5f6e 61656f 686a71 6f7073 757676 "
    "7c7b78 848179 8b8778 938d78 9b9376 a39a75 aba072 b3a670 bbad6c c3b469 ccba64 d4c15f ddc958 e6d051 efd748 f8df3c "
    "fee838"
)
_STOPS: Final = np.array([list(bytes.fromhex(colour)) for colour in _CIVIDIS.split()], np.float64)


def alone(values: Floats) -> Layer:
    """Colour values (...) by cividis -> (..., 4): 0 is dark blue, `FULL_SCALE` and more yellow."""
    at = (values / FULL_SCALE).clip(0, 1) * (len(_STOPS) - 1)
    return _layer([np.interp(at, np.arange(len(_STOPS)), _STOPS[:, k]) for k in range(3)], np.ones_like(at))


def over(values: Floats) -> Layer:
    """One hue for values (...) -> (..., 4): the value is its opacity over a dimmed film, strongest at `FULL_SCALE`."""
    opacity = STRONGEST * (values / FULL_SCALE).clip(0, 1)
    return _layer([np.full_like(opacity, part) for part in HUE], opacity)


def difference(values: Floats) -> Layer:
    """Colour differences (...) -> (..., 4): less is blue, none white, more orange, with equal limits."""
    part = (values / DIFFERENCE_LIMIT).clip(-1, 1)
    ends = [np.where(part < 0, less, more) for less, more in zip(LESS, MORE, strict=True)]
    return _layer([255 * (1 - abs(part)) + end * abs(part) for end in ends], np.ones_like(part))


def dimmed(film: Floats) -> npt.NDArray[np.uint8]:
    """Lightness (H, W) from 0 to 1 -> grey (H, W) of 15 to 60 percent lightness, so that a hue shows on it."""
    return (255 * (DIMMEST + (BRIGHTEST - DIMMEST) * film) + 0.5).astype(np.uint8)


def scale_bar(style: str, steps: int = 128) -> Layer:
    """Return one line of pixels (1, steps, 4): a style's whole scale, lowest at the left."""
    if style == "difference":
        return difference(np.linspace(-DIFFERENCE_LIMIT, DIFFERENCE_LIMIT, steps)[None])
    return {"alone": alone, "overlay": over}[style](np.linspace(0, FULL_SCALE, steps)[None])


def _layer(channels: Sequence[Floats], opacity: Floats) -> Layer:
    return (np.stack([*channels, 255 * opacity], axis=-1).clip(0, 255) + 0.5).astype(np.uint8)
