"""The public grid on which clipped gradients are summed and noise is drawn: integers, so that no sum is rounded.

In: noise multiplier and clip of a study. Out: how many grid units a clip is, and how large a unit is. All public.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from shared.privacy.noise import NOISE_SCALE


@dataclass(frozen=True)
class Grid:
    """Patients' vectors are integers of norm at most `clip_units`; `unit` turns integers into gradients.

    `clip_units / NOISE_SCALE` is at most 1 / noise_multiplier: noise of scale `NOISE_SCALE` is enough for the claim.
    Without noise a clip has `NOISE_SCALE` units.
    """

    max_grad_norm: float
    clip_units: int

    @classmethod
    def of(cls, noise_multiplier: float, max_grad_norm: float) -> "Grid":
        """Return the grid for a finite clip; `ValueError` where a clip would have no unit or sums could overflow."""
        units = NOISE_SCALE if noise_multiplier == 0 else math.floor(NOISE_SCALE / Fraction(noise_multiplier))
        # 2^15 patients in a batch must not reach 2^63
        if not (math.isfinite(max_grad_norm) and max_grad_norm > 0 and 1 <= units <= 1 << 48):
            raise ValueError(
                f"noise_multiplier is {noise_multiplier:g} and max_grad_norm {max_grad_norm:g}, allowed are "
                "multipliers of 0 or 0.0625 to 1e13 and a finite clip above 0; correct the study"
            )
        return cls(max_grad_norm, units)

    @property
    def unit(self) -> float:
        """The gradient that one integer stands for."""
        return self.max_grad_norm / self.clip_units
