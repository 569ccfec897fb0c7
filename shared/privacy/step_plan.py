"""The numbers of a site's private steps: what hub and site compute with, known to both.

In: study and declared values. Out: one frozen, checked value. All of it is public: nothing is counted.
"""

import math
from dataclasses import dataclass

from shared.config.study import StudyConfig
from shared.config.values import CLIPS, LEARNING_RATES, NOISES
from shared.errors import PrivacyError


@dataclass(frozen=True)
class StepPlan:
    """Steps of sampled, clipped, noised SGD in one round.

    `normaliser` is the PUBLIC constant that divides a noisy sum: sample_rate * declared patients.
    `noise_multiplier` 0 and `max_grad_norm` inf are for runs with privacy off. Only `patients_per_chunk`
    changes nothing but speed and memory; every other field changes the guarantee or the result.
    """

    steps: int
    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float
    learning_rate: float
    momentum: float
    normaliser: float
    patients_per_chunk: int = 16

    def __post_init__(self) -> None:
        allowed = {
            "steps": (self.steps >= 1, "at least 1"),
            "sample_rate": (0 < self.sample_rate <= 1, "above 0, at most 1"),
            "noise_multiplier": (
                self.noise_multiplier == 0 or _within(self.noise_multiplier, NOISES),
                f"0, or {NOISES[0]:g} to {NOISES[1]:g}",
            ),
            "max_grad_norm": (
                self.max_grad_norm == math.inf or _within(self.max_grad_norm, CLIPS),
                f"{CLIPS[0]:g} to {CLIPS[1]:g}, or inf without noise",
            ),
            "learning_rate": (
                _within(self.learning_rate, LEARNING_RATES),
                f"{LEARNING_RATES[0]:g} to {LEARNING_RATES[1]:g}",
            ),
            "momentum": (0 <= self.momentum < 1, "at least 0, below 1"),
            "normaliser": (0 < self.normaliser < math.inf, "a finite number above 0"),
            "patients_per_chunk": (self.patients_per_chunk >= 1, "at least 1"),
        }
        for field, (fits, words) in allowed.items():
            if not fits:
                raise PrivacyError(
                    f"{field} is {getattr(self, field)}, allowed is {words}; correct the study"
                )
        if self.noise_multiplier > 0 and math.isinf(self.max_grad_norm):
            raise PrivacyError(
                "max_grad_norm is inf, allowed with noise is a finite bound; set one or turn privacy off"
            )

    def influence(self, step: int) -> float:
        """Return how far one unit of step `step`'s averaged gradient moves the final weights.

        lr * sum_{j=0}^{steps-1-step} momentum^j: momentum carries a gradient into all later steps.

        >>> plan = StepPlan(3, 0.5, 1.0, 1.0, learning_rate=1.0, momentum=0.5, normaliser=8)
        >>> [plan.influence(step) for step in range(3)]
        [1.75, 1.5, 1.0]
        """
        remaining = self.steps - step
        return self.learning_rate * (1 - self.momentum**remaining) / (1 - self.momentum)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def step_plan(
    study: StudyConfig, number: int, declared_patients: int, patients_per_chunk: int = 16
) -> StepPlan:
    """Return the public numbers of round `number` (from 1); without privacy the clip stays and the noise is zero.

    A chunk, which is always worked on in its full length, is no longer than the declared number of patients.
    """
    privacy, federation = study.privacy, study.federation
    sigma = privacy.noise_multiplier if privacy.enabled else 0.0
    if sigma is None:
        raise PrivacyError("privacy.noise_multiplier is missing; the hub calibrates it when a study starts")
    return StepPlan(
        steps=federation.steps,
        sample_rate=privacy.sample_rate,
        noise_multiplier=sigma,
        max_grad_norm=privacy.max_grad_norm,
        learning_rate=federation.learning_rate_in(number),
        momentum=federation.momentum,
        normaliser=privacy.sample_rate * declared_patients,
        patients_per_chunk=min(patients_per_chunk, declared_patients),
    )
