"""The stages of the protocol, a row each: what is asked, what comes back, and whom it charges for what.

In: the study's public numbers. Out: what hub and site go by, so that both mean the same. A new kind of answer is its
names in `shared.config.kinds`, its form in `release_kinds`, a row here, its computation in `client.rounds.answer`, and
who asks it in `server.rounds.study`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from shared.config.kinds import Partition, ReleaseKind, RequestKind
from shared.config.study import StudyConfig
from shared.config.values import ArrayType
from shared.errors import ErrorCode, Refusal
from shared.privacy.mechanisms import Gaussian, Mechanism, PoissonGaussian, Unprotected

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Charge:
    """What one answer of a stage spends: on the patients of which partition, by which mechanism."""

    partition: Partition
    mechanism: Callable[[StudyConfig], Mechanism]


@dataclass(frozen=True)
class ProtocolStage:
    """One kind of request and its answer.

    `asked` says whether a study asks it at all, and `each_round` whether in every round rather than once. Without a
    `charge` the answer rests on no patient. A site may take part without an `optional` stage. `shapes` of the answer's
    arrays follow from those of the weights (D...) that went out.
    """

    kind: RequestKind
    message_type: str  # Flower's
    release: ReleaseKind
    sentence: Callable[[StudyConfig, str], str]  # what leaves, by the study and a site's declared number
    charge: Charge | None = None
    each_round: bool = False
    optional: bool = False
    asked: Callable[[StudyConfig], bool] = lambda _study: True
    shapes: Callable[[StudyConfig, Shapes], Shapes] = lambda _study, _weights: {}
    array_type: Callable[[StudyConfig], ArrayType] = lambda _study: "float32"

    def times(self, study: StudyConfig) -> int:
        """Return how often a whole study asks it of each site."""
        if not self.asked(study):
            return 0
        return study.federation.rounds if self.each_round else 1

    def left(self, study: StudyConfig, last_round: int | None) -> int:
        """Return how often it is still to be asked of a site that was asked last in `last_round`; None: never yet."""
        done = 0 if last_round is None else last_round if self.each_round else 1
        return max(0, self.times(study) - done)


def training_mechanism(study: StudyConfig) -> Mechanism:
    """Return what one round of training spends, from the study's public numbers alone."""
    privacy = study.privacy
    if not privacy.enabled:
        return Unprotected()
    if privacy.noise_multiplier is None:
        raise Refusal(ErrorCode.BAD_REQUEST, "privacy.noise_multiplier is missing; the hub calibrates it")
    return PoissonGaussian(
        noise_multiplier=privacy.noise_multiplier,
        sample_rate=privacy.sample_rate,
        steps=study.federation.steps,
    )


def _update_sentence(study: StudyConfig, _declared: str) -> str:
    what = (
        f"noised difference of the weights '{study.privacy.trainable}'"
        if study.privacy.enabled
        else "difference of the weights, WITHOUT noise"
    )
    return f"update ({what}) in each of {study.federation.rounds} rounds"


_ROWS = (
    ProtocolStage(
        kind="enrol",
        message_type="query.enrol",
        release="enrolment",
        sentence=lambda _study, declared: f"enrolment (name, versions, {declared} declared patients) once",
    ),
    ProtocolStage(
        kind="train",
        message_type="train",
        release="update",
        sentence=_update_sentence,
        charge=Charge("train", training_mechanism),
        each_round=True,
        shapes=lambda _study, weights: weights,
        array_type=lambda study: study.federation.update_values,
    ),
    ProtocolStage(
        kind="evaluate",
        message_type="evaluate",
        release="evaluation",
        sentence=lambda _study, _declared: "evaluation (noised counts) once",
        charge=Charge(
            "evaluation",
            lambda study: Gaussian(noise_multiplier=study.federation.evaluation_noise_multiplier),
        ),
        optional=True,
        asked=lambda study: study.federation.evaluate_sites,
        shapes=lambda study, _weights: {"confusion": (len(study.task.classes),) * 2},
    ),
)
STAGES: Final[Mapping[RequestKind, ProtocolStage]] = {row.kind: row for row in _ROWS}
