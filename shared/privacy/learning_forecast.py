"""What a study can learn from so many patients under so much noise: arithmetic of public numbers, done beforehand.

In: a study with its noise, and declared numbers of patients. Out: noise, break-even size, signal to noise, and for a
readout the share of what the public cohort leaves open that the sites can settle. Nothing here is counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.config.study import StudyConfig
from shared.models.readout import NORM, NUM_DIRECTIONS
from shared.privacy.step_plan import step_plan

PRIOR: Final = 0.2
"""Standard deviation of what a readout's weights may still have to move after the cohort, where features have norm 10.

Chosen on PneumoniaMNIST's made sites, 50 patients at epsilon 1 to 1,100 at 8: 0.1 and 0.2 are alike, 0.05 is stiff.
"""
HOPELESS: Final = 0.02  # share of what is open: below it next to nothing is moved
LITTLE: Final = 0.1
_SIGNAL: Final = 0.27  # mean clipped gradient over the clip: 0.25 to 0.28 in four sets on PneumoniaMNIST
_SPREAD: Final = 0.35  # of patients' gradients about their mean, over the clip; assumed
_UNSURE: Final = 0.03  # curvature over the features' second moment: 0.02 to 0.03 seen
_LARGE_SHARE: Final = 0.27  # of that moment in the directions of most variance


@dataclass(frozen=True)
class Forecast:
    """What noise does to a study.

    `noise` is nu = sigma / (q sqrt(steps)): the noise multiplier of one pass over everybody that would tell as much.
    `break_even` is the number of weights at which noise equals what sites of this size differ by through chance.
    `signal_to_noise` compares lengths over the whole study, for the mean of all sites. `learnt` and
    `learnt_without_noise` are for a readout alone: shares, 0 to 1, of what the cohort leaves open.
    """

    sites: int
    patients: int
    noise: float
    num_trained: int
    break_even: float
    signal_to_noise: float
    learnt: float | None
    learnt_without_noise: float | None

    @property
    def verdict(self) -> str:
        """In words: hopeless, little or worth it."""
        if self.learnt is None:
            return "hopeless" if self.signal_to_noise < 1 else "noise is below the signal"
        if self.learnt < HOPELESS:
            return "hopeless"
        return "little" if self.learnt < LITTLE else "worth it"


def forecast(
    study: StudyConfig,
    declared: Sequence[int],
    num_trained: int,
    *,
    pooled: bool = False,
) -> Forecast:
    """Forecast a study whose noise is calibrated, for sites of these declared patients.

    `pooled` reckons with one noise for the sum of all sites, which needs secure aggregation: another trust model, not
    built yet.
    """
    patients, noises = sum(declared), 1 if pooled else len(declared)
    plan = step_plan(study, 1, patients)
    steps = study.federation.rounds * plan.steps
    noise = plan.noise_multiplier / (plan.sample_rate * math.sqrt(steps))
    spread = noise * math.sqrt(noises) / patients
    private = spread > 0
    learnt = without = None
    if study.privacy.trainable == "readout" and study.federation.merge == "filter":
        h = _usual_curvature(num_trained, len(study.task.classes))
        learnt = _learnt(study, declared, h, noises)
        quiet = study.model_copy(update={"privacy": study.privacy.model_copy(update={"enabled": False})})
        without = _learnt(quiet, declared, h, noises)
    return Forecast(
        sites=len(declared),
        patients=patients,
        noise=noise,
        num_trained=num_trained,
        break_even=(_SPREAD / spread) ** 2 / patients if private else math.inf,
        signal_to_noise=_SIGNAL / (spread * math.sqrt(num_trained)) if private else math.inf,
        learnt=learnt,
        learnt_without_noise=without,
    )


def filter_gain(
    study: StudyConfig,
    variance: NDArray[np.float64],
    curvature: NDArray[np.float64],
    declared: Sequence[int],
    number: int = 1,
    noises: int | None = None,
) -> NDArray[np.float64]:
    """Return the Kalman gain of a round's mean gradient along each direction (`server.rounds.merging.FilterMerge`).

    K = P h / (h^2 P + R), R = S (sigma C / (q N))^2 + T h / (q N): the noise of privacy, and which patients there are,
    the same in all T rounds. `noises` is S, one a site unless given.
    """
    plan = step_plan(study, number, sum(declared))
    each = plan.noise_multiplier * plan.max_grad_norm / plan.normaliser
    noise = (len(declared) if noises is None else noises) * each**2
    chance = study.federation.rounds * curvature / plan.normaliser
    return variance * curvature / (curvature**2 * variance + noise + chance)


def _learnt(
    study: StudyConfig, declared: Sequence[int], curvature: NDArray[np.float64], noises: int
) -> float:
    """Return by how much all rounds shrink the variance of a logit, as a share of the prior's."""
    variance = np.full(len(curvature), PRIOR**2)
    for number in range(1, study.federation.rounds + 1):
        gain = filter_gain(study, variance, curvature, declared, number, noises)
        variance = (1 - gain * curvature) * variance
    return float(1 - (curvature * variance).sum() / (curvature.sum() * PRIOR**2))


def _usual_curvature(num_trained: int, num_classes: int) -> NDArray[np.float64]:
    """Return the spectrum of a readout of this size as PneumoniaMNIST and the phantoms have it."""
    width = num_trained // num_classes - 1
    total = _UNSURE * NORM**2
    if width <= NUM_DIRECTIONS:
        return np.full(width, total / width)
    large = np.full(NUM_DIRECTIONS, _LARGE_SHARE * total / NUM_DIRECTIONS)
    others = np.full(width - NUM_DIRECTIONS, (1 - _LARGE_SHARE) * total / (width - NUM_DIRECTIONS))
    return np.concatenate([large, others, [_UNSURE]])


def patients_needed(study: StudyConfig, declared: Sequence[int], num_trained: int) -> int | None:
    """Return how many patients a site would make the study worth it, at the same noise; None: not below a million."""
    sites, number = len(declared), max(declared)
    while number <= 1_000_000:
        if forecast(study, [number] * sites, num_trained).verdict not in {"hopeless", "little"}:
            return number
        number = math.ceil(number * 1.25)
    return None
