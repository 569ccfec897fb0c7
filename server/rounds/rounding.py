"""How far an update that travelled as float16 can be from what its site computed.

In: the update as it came, float32 arrays that hold float16 values. Out: one number. The hub never sees the values
before rounding, but each that came tells how wide the steps of float16 are where it lies.
"""

from typing import Final

import numpy as np

from shared.models.arrays import Arrays

_HALF_STEPS: Final = np.exp2(np.maximum(np.arange(256) - 138.0, -25.0))
"""Half a step of float16 by the exponent field of a float32, which is 127 more than the exponent: steps are 2^-10 of a
value's power of two, and 2^-24 at the least. Rounding to nearest moves a value by at most half a step."""


def rounding_error(update: Arrays) -> float:
    """Return the largest L2 error of rounding to float16 over the L2 norm of the update; 0 for an update of zeros.

    On average an error is less by the square root of 3, for errors are spread evenly over half a step on each side.
    Values that float16 cannot hold (beyond 65504) are not in it; the bound on an update's norm is far below.
    """
    counts = np.zeros(256)
    squares = 0.0
    for array in update.values():
        flat = np.ascontiguousarray(array, np.float32).reshape(-1)
        counts += np.bincount((flat.view(np.uint32) >> 23) & 0xFF, minlength=256)
        squares += float(np.square(flat, dtype=np.float64).sum())
    return float(np.sqrt(counts @ np.square(_HALF_STEPS) / squares)) if squares else 0.0
