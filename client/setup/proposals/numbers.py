"""How many patients to declare, and how much may be spent on one? Counts and a study come in; proposals go out.

The declared number is public and a person's own: it scales every step and the site's weight among the others. What is
shown beside it is rounded down so far that a count cannot be read from it.
"""

from bisect import bisect_right
from math import floor, log10

from shared.config.study import StudyConfig

# Each step is at most a quarter above the one before, so that the number rounded down to still serves (check says how
# far it may be off): 10, 12, 15, ... 80, 100, 120, ...
STEPS = (10, 12, 15, 18, 20, 25, 30, 35, 40, 50, 60, 70, 80)
TRAIN_SHARE = 0.8  # of patients whom no split divides: the site's key puts so many into training
USUAL_EPSILON, USUAL_DELTA = 10.0, 1e-5


def coarse(number: int) -> int:
    """Return the largest coarse number that is not above `number`; numbers below 10 are 10."""
    if number < STEPS[0]:
        return STEPS[0]
    scale = 10 ** (floor(log10(number)) - 1)
    return int(STEPS[bisect_right(STEPS, number / scale) - 1] * scale)


def serving(number: int) -> tuple[int, int]:
    """Return the two coarse numbers around about `number` patients; both serve, and which of them a person chooses.

    A rounded count alone would show, once in a while, the one patient who tips the rounding.
    """
    below = coarse(number)
    return below, next(one for one in _ladder(below) if one > below)


def _ladder(number: int) -> list[int]:
    scale = 10 ** max(0, floor(log10(number)) - 1)
    return [int(one * scale) for one in (*STEPS, 100, 120)]


def largest_delta(declared: int) -> float:
    """Return the largest delta that a site of this declared size accepts: 1 / (10 x declared patients)."""
    return 1 / (10 * declared)


def proposed_delta(declared: int, study: StudyConfig | None) -> float:
    """Return the study's delta, so that both count alike, or a usual one; never more than a site may allow."""
    asked = USUAL_DELTA if study is None else study.privacy.delta
    allowed = largest_delta(declared)
    return asked if asked <= allowed else 10.0 ** floor(log10(allowed))


def rounded_up(epsilon: float) -> float:
    """Return the next half above an epsilon, so that a cap is a number that a person would choose."""
    return -(-epsilon * 2 // 1) / 2
