"""Which values stand far from the others? Numbers of one hospital come in, robust z scores go out; nothing leaves."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
FAR = 3.5  # robust z score from which a value is an outlier (Iglewicz and Hoaglin 1993)
_NORMAL_MAD = 1.482602  # standard deviation of a normal distribution over its median absolute deviation
_NORMAL_MEAN = 1.253314  # and over its mean absolute deviation


def robust_z(values: Floats) -> Floats:
    """Return (value - median) / deviation, (N,); 0 for all where all are equal.

    The deviation is 1.4826 times the median absolute one, or 1.2533 times the mean absolute one where more than half
    of the values are equal, as sizes of pictures are. Source: Iglewicz and Hoaglin, How to Detect and Handle Outliers,
    1993.
    """
    if values.size == 0:
        return values
    off = values - np.median(values)
    deviation = _NORMAL_MAD * float(np.median(np.abs(off)))
    if deviation < 1e-12:
        deviation = _NORMAL_MEAN * float(np.abs(off).mean())
    return np.zeros_like(off) if deviation < 1e-12 else off / deviation
