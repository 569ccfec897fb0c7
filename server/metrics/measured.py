"""What was measured of a model on the public test set: frozen figures, as summaries hold them.

In: figures that `server/metrics/metrics.py` computed. Everything here is about public test patients.
"""

from server.metrics.intervals import Bin, Interval
from shared.config.values import Frozen


class Metrics(Frozen):
    """Everything measured of one model on one set of images."""

    auc: Interval
    accuracy: Interval
    macro_f1: Interval
    recall: dict[str, Interval]
    ece: Interval
    brier: Interval
    confusion: tuple[tuple[int, ...], ...]  # true class x predicted class, images
    reliability: tuple[Bin, ...]
    num_images: int
    num_patients: int


class Calibrated(Frozen):
    """How far probabilities are off once the temperature is applied; the ranking, and so the AUC, is that of before."""

    ece: Interval
    brier: Interval


class ModelFacts(Frozen):
    """What the model is; None prints as 'not stated'."""

    teacher: str | None = None
    student: str | None = None
    explainer: str | None = None
    fill: str | None = None
    normalisation: str | None = None
    trainable_set: str | None = None
    num_parameters: int | None = None
    num_trainable: int | None = None
    num_macs: int | None = None
    num_bytes: int | None = None
