"""What a round moves over a site's link, and what link that takes: a forecast from the study alone.

In: the study, and how many numbers it trains. Out: bytes, seconds, one sentence. Nothing of a patient is in it.
"""

from dataclasses import dataclass
from typing import Final

import torch

from shared.config.study import StudyConfig
from shared.config.values import ArrayType
from shared.models.compact import build_compact
from shared.models.trainable import trainable_names

SLOW_MBITS: Final = 2.0  # the slow link that was measured (deploy/README.md, "Slow and small links")
OVERHEAD: Final = 1.1  # bytes on the link over bytes of arrays: 1.09 and 1.11 measured
BYTES: Final[dict[ArrayType, int]] = {"float32": 4, "float16": 2}
_PART: Final = 0.5  # of the deadline; the rest is for training


@dataclass(frozen=True)
class RoundTraffic:
    """Bytes of weights to a site and of its update from it, in one round that closes after `deadline_seconds`."""

    to_site_bytes: int
    from_site_bytes: int
    deadline_seconds: float

    def seconds(self, mbits: float) -> float:
        """Return how long a link of that many Mbit/s in each direction takes, one way after the other."""
        return OVERHEAD * 8e-6 * (self.to_site_bytes + self.from_site_bytes) / mbits

    @property
    def needed_mbits(self) -> float:
        """Rate at which the half of the deadline is left for training."""
        return self.seconds(1.0) / (_PART * self.deadline_seconds)

    @property
    def suits_slow_links(self) -> bool:
        """Whether a link of 2 Mbit/s leaves half of the deadline for training."""
        return self.needed_mbits <= SLOW_MBITS

    def __str__(self) -> str:
        """One sentence: what moves, how long a slow link takes, and what to do where that is too long."""
        moved = (
            f"in a round a site gets {_in_mb(self.to_site_bytes)} and sends {_in_mb(self.from_site_bytes)}, "
            f"which takes {self.seconds(SLOW_MBITS):.0f} s at {SLOW_MBITS:g} Mbit/s, of {self.deadline_seconds:g} s "
            "until the deadline"
        )
        if self.suits_slow_links:
            return moved
        enough = self.seconds(SLOW_MBITS) / _PART
        return (
            f"{moved}; a site needs {self.needed_mbits:.1f} Mbit/s or more, or the study a "
            f"federation.deadline_seconds of {enough:.0f}, update_values: float16 or a smaller trainable set"
        )


def _in_mb(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:.1f} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e6:.3f} MB"


def round_traffic(study: StudyConfig, num_values: int) -> RoundTraffic:
    """Return what a round of this study moves; weights travel as float32, updates as the study says."""
    federation = study.federation
    return RoundTraffic(
        num_values * BYTES["float32"],
        num_values * BYTES[federation.update_values],
        federation.deadline_seconds,
    )


def num_trained(study: StudyConfig) -> int:
    """Return how many numbers the study trains, from its architecture alone: no weights are loaded or made."""
    with torch.device("meta"):
        compact = build_compact(study)
    parameters = dict(compact.named_parameters())
    return sum(parameters[name].numel() for name in trainable_names(compact, study.privacy.trainable))
