"""What becomes of a round's mean update: added as it is, or weighed first against what is known without it.

In: the mean of the sites' updates, and public numbers: the study, declared patients, statistics of the public cohort.
Out: the step of the global student, and what the next round needs. All of it is post-processing of releases: it costs
no privacy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from server.rounds.aggregation import merged_step
from shared.config.study import StudyConfig
from shared.errors import StudyError
from shared.models.arrays import Arrays
from shared.models.compact import CompactModel
from shared.models.readout import Readout
from shared.privacy.learning_forecast import PRIOR, filter_gain

_WEIGHT, _BIAS, _VARIANCE = "readout.linear.weight", "readout.linear.bias", "filter.variance"


class Merge(Protocol):
    """How a round's mean update becomes the step of the global student."""

    def __call__(
        self, carried: Arrays, mean: Arrays, declared: Sequence[int], number: int
    ) -> tuple[Arrays, Arrays]:
        """Return the step of round `number` (from 1), and what is carried to the next.

        `mean` is weighted by the `declared` patients of the sites that answered.
        """


def merge_of(study: StudyConfig, compact: CompactModel) -> Merge:
    """Return the merge that a study asks for; `StudyError` where its initial weights were made for another clip."""
    if study.federation.merge == "mean" or compact.readout is None:
        return MeanMerge(study)
    made_for = float(compact.readout.clip)
    if not np.isclose(made_for, study.privacy.max_grad_norm, rtol=1e-6):
        raise StudyError(
            f"privacy.max_grad_norm is {study.privacy.max_grad_norm:g}, allowed with these initial weights is "
            f"{made_for:g}: their public statistics were taken with that clip; set it, or prepare the study again"
        )
    return FilterMerge(study, compact.readout)


@dataclass(frozen=True)
class MeanMerge:
    """The mean itself, with a share of the last step where the study has a momentum."""

    study: StudyConfig

    def __call__(
        self, carried: Arrays, mean: Arrays, declared: Sequence[int], number: int  # noqa: ARG002 - Merge's shape
    ) -> tuple[Arrays, Arrays]:  # fmt: skip
        """Return the mean with the momentum's share of the last step, and that step where one is to be remembered."""
        momentum = self.study.federation.server_momentum
        step = merged_step(carried, mean, momentum)
        # without momentum nobody reads the step: up to 30 MB that a checkpoint can do without
        return step, step if momentum else {}


class FilterMerge:
    """A Kalman filter of a readout's weights: each round's noised mean gradient is an observation of where they belong.

    Along a direction v of the whitened features, the weights are believed to be off by a normal error of variance P, at
    first PRIOR^2 about the cohort's own fit. The N declared patients of S sites let out y = -(mean clipped gradient) +
    noise, which is h times that error, with variance

        R = S (sigma C / (q N))^2  +  T h / (q N)

    of the noise of privacy (multiplier sigma, clip C, rate q) and of which patients there are (the same in all T
    rounds, hence T; Fisher's information is the curvature h). So w <- w + K y and P <- (1 - K h) P, where K is
    P h / (h^2 P + R) (Kalman 1960, doi:10.1115/1.3662552; Simon, Optimal State Estimation, 2006, 5.1). h is that of the
    public cohort.

    Few patients or much noise make K small: then the student stays the cohort's. Many make it Newton's step. Nothing is
    tuned by what a site holds, and no site needs to know it.
    """

    def __init__(self, study: StudyConfig, readout: Readout) -> None:
        self._study = study
        self._directions: NDArray[np.float64] = readout.directions.numpy().astype(np.float64)
        self._curvature: NDArray[np.float64] = readout.curvature.numpy().astype(np.float64)

    def __call__(
        self, carried: Arrays, mean: Arrays, declared: Sequence[int], number: int
    ) -> tuple[Arrays, Arrays]:
        """Return the filter's step, and how unsure it leaves each direction."""
        variance = np.asarray(
            carried.get(_VARIANCE, np.full(len(self._curvature), PRIOR**2)), dtype=np.float64
        )
        rate = self._study.federation.learning_rate_in(number)
        gain = filter_gain(self._study, variance, self._curvature, declared, number)
        seen = mean[_WEIGHT].astype(np.float64) / rate
        along = seen @ self._directions.T
        weight = (along * gain[:-2]) @ self._directions + (seen - along @ self._directions) * gain[-2]
        bias = mean[_BIAS].astype(np.float64) / rate * gain[-1]
        step = {_WEIGHT: weight.astype(np.float32), _BIAS: bias.astype(np.float32)}
        return step, {_VARIANCE: ((1 - gain * self._curvature) * variance).astype(np.float32)}
