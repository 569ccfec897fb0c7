"""How well a model does on the public test set, and how sure one may be of it.

In: probabilities, labels and patient numbers of public images, as arrays. Out: frozen figures with 95 %
intervals. Everything here is about public test patients; nothing of a hospital's own partition comes in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from server.metrics.intervals import (
    Array,
    Bin,
    Interval,
    patient_resamples,
    percentile_interval,
    ratio,
    weighted_auc,
)
from server.metrics.measured import Metrics

__all__ = [
    "NOT_FINITE",
    "Bin",
    "Interval",
    "evaluate",
    "fit_temperature",
    "paired_difference",
    "tempered",
]

NOT_FINITE = "the student's predictions on public test images are not all finite"
NUM_BINS = 15
TEMPERATURE_RANGE = (0.05, 20.0)


@dataclass(frozen=True)
class _Set:
    """One checked, non-empty set of predictions."""

    probabilities: Array  # (N, C)
    labels: npt.NDArray[np.int64]  # (N,)
    patients: npt.NDArray[np.int64]  # (N,), 0 .. P - 1
    classes: tuple[str, ...]
    positive: int

    @property
    def num_patients(self) -> int:
        return int(self.patients.max()) + 1

    @property
    def patients_by_class(self) -> list[int]:
        owners = (np.unique(self.patients[self.labels == index]) for index in range(len(self.classes)))
        return [int(own.size) for own in owners]

    @property
    def gap(self) -> str:
        """Why a figure over all classes cannot be had; empty when it can."""
        pairs = zip(self.classes, self.patients_by_class, strict=True)
        return _absence([name for name, count in pairs if not count])


def evaluate(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    patients: npt.ArrayLike,
    classes: Sequence[str],
    positive: str | None = None,
    *,
    num_resamples: int = 500,
    seed: int = 0,
) -> Metrics:
    """Measure one model, with patient-clustered bootstrap intervals.

    `probabilities` (N, C), `labels` (N,) class indices, `patients` (N,) integers. With two classes the AUC is
    that of `positive` (default: the last class), with more the mean of one class against the rest. A class
    without images leaves AUC, macro F1 and its recall at None with a reason. `brier` is halved for two
    classes, as in scikit-learn. `ece` has no interval: its bootstrap is biased upwards.
    """
    if not np.size(labels):
        return _empty(classes)
    data = _checked(probabilities, labels, patients, classes, positive)
    size, n = len(data.classes), data.num_patients
    hits = np.eye(size**2)[data.labels * size + data.probabilities.argmax(1)]
    squares = _squared_errors(data)
    draws = [
        (_auc(data, weights), weights @ hits, weights @ squares / weights.sum(1))
        for weights in patient_resamples(data.patients, num_resamples, seed)
    ]
    auc, tables, brier = (np.concatenate([draw[part] for draw in draws]) for part in range(3))
    table = hits.sum(0)
    every, own = _scores_of(tables, size), _scores_of(table[None], size)
    ece, bins = _calibration(data)
    units = data.patients_by_class
    return Metrics(
        auc=_whole(data, float(_auc(data, _ones(data))[0]), auc, min(units)),
        accuracy=percentile_interval(own.accuracy[0], every.accuracy, n, edge_units=n),
        macro_f1=_whole(data, own.macro_f1[0], every.macro_f1, n),
        recall={
            name: percentile_interval(own.recall[0, c], every.recall[:, c], units[c], edge_units=units[c])
            if units[c]
            else Interval(value=None, reason=_absence([name]))
            for c, name in enumerate(data.classes)
        },
        ece=Interval(value=ece, n=n, reason="no interval: the bootstrap of this figure is biased"),
        brier=percentile_interval(float(squares.mean()), brier, n),
        confusion=tuple(tuple(int(cell) for cell in row) for row in table.reshape(size, size)),
        reliability=bins,
        num_images=int(data.labels.size),
        num_patients=n,
    )


def paired_difference(
    prob_a: npt.ArrayLike,
    prob_b: npt.ArrayLike,
    labels: npt.ArrayLike,
    patients: npt.ArrayLike,
    classes: Sequence[str],
    *,
    positive: str | None = None,
    num_resamples: int = 500,
    seed: int = 0,
) -> Interval:
    """AUC of a minus AUC of b on the same images; each resample draws the same patients for both."""
    if not np.size(labels):
        return Interval(value=None, reason="no images")
    a = _checked(prob_a, labels, patients, classes, positive)
    b = _checked(prob_b, labels, patients, classes, positive)
    resamples = patient_resamples(a.patients, num_resamples, seed)
    draws = np.concatenate([_auc(a, weights) - _auc(b, weights) for weights in resamples])
    return _whole(a, float((_auc(a, _ones(a)) - _auc(b, _ones(b)))[0]), draws, 0)


def fit_temperature(logits: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Find the temperature that minimises the mean NLL of softmax(logits / T), within [0.05, 20].

    Guo et al., arXiv 1706.04599. `logits` (N, C) must be finite; without images the temperature is 1.
    """
    scores, truth = np.asarray(logits, np.float64), np.asarray(labels, np.int64)
    if not np.isfinite(scores).all():
        raise ValueError("logits are not all finite; allowed are finite numbers: leave the model out")
    if not truth.size:
        return 1.0
    rows = np.arange(truth.size)

    def loss(log_temperature: float) -> float:
        return -float(log_softmax(scores / np.exp(log_temperature), axis=1)[rows, truth].mean())

    low, high = (float(np.log(end)) for end in TEMPERATURE_RANGE)
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return float(np.clip(np.exp(found.x), *TEMPERATURE_RANGE))


def tempered(probabilities: npt.ArrayLike, temperature: float) -> Array:
    """Return softmax(logits / T) from softmax(logits) (N, C): powers of 1 / T, normalised."""
    scores = np.asarray(probabilities, np.float64)
    powers: Array = (scores / scores.max(1, keepdims=True)) ** (1 / temperature)
    result: Array = powers / powers.sum(1, keepdims=True)
    return result


@dataclass(frozen=True)
class _Scores:
    """What follows from confusion counts, one row a resample."""

    accuracy: Array  # (R,)
    macro_f1: Array  # (R,), NaN without every class
    recall: Array  # (R, C), NaN without that class


def _scores_of(tables: Array, size: int) -> _Scores:
    counts = tables.reshape(-1, size, size)
    right, true, predicted = np.einsum("rcc->rc", counts), counts.sum(2), counts.sum(1)
    f1 = np.where(true > 0, ratio(2 * right, true + predicted), np.nan)
    return _Scores(ratio(right.sum(1), true.sum(1)), f1.mean(1), ratio(right, true))


def _checked(
    probabilities: npt.ArrayLike,
    labels: npt.ArrayLike,
    patients: npt.ArrayLike,
    classes: Sequence[str],
    positive: str | None,
) -> _Set:
    scores, truth = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    owners = np.unique(np.asarray(patients), return_inverse=True)[1].reshape(-1).astype(np.int64)
    if scores.shape != (truth.size, len(classes)) or owners.size != truth.size:
        raise ValueError(
            f"probabilities {scores.shape}, labels {truth.shape}, patients {owners.shape}: allowed are (N, "
            f"{len(classes)}), (N,) and (N,)"
        )
    if not np.isfinite(scores).all():
        raise ValueError("probabilities are not all finite; allowed are numbers from 0 to 1")
    if not 0 <= truth.min() <= truth.max() < len(classes):
        raise ValueError(f"labels must be from 0 to {len(classes) - 1}")
    index = len(classes) - 1 if positive is None else list(classes).index(positive)
    return _Set(scores, truth, owners, tuple(classes), index)


def _auc(data: _Set, weights: Array) -> Array:
    """AUC under every row of weights (R, N) -> (R,)."""
    wanted = [data.positive] if len(data.classes) == 2 else range(len(data.classes))
    each = [weighted_auc(data.probabilities[:, c], data.labels == c, weights) for c in wanted]
    mean: Array = np.mean(each, axis=0)
    return mean


def _calibration(data: _Set) -> tuple[float, tuple[Bin, ...]]:
    """Bin the top class's confidence in 15 equal bins; the expected calibration error and the bins.

    arXiv 1706.04599, eq. 3. Bins are (k / 15, (k + 1) / 15].
    """
    confidence = data.probabilities.max(1)
    right = data.probabilities.argmax(1) == data.labels
    index = np.clip(np.ceil(confidence * NUM_BINS).astype(int) - 1, 0, NUM_BINS - 1)
    members = [index == b for b in np.unique(index)]
    bins = tuple(
        Bin(
            confidence=float(confidence[own].mean()),
            accuracy=float(right[own].mean()),
            num_images=int(own.sum()),
        )
        for own in members
    )
    error = sum(b.num_images * abs(b.confidence - b.accuracy) for b in bins) / right.size
    return float(error), bins


def _squared_errors(data: _Set) -> Array:
    errors: Array = ((data.probabilities - np.eye(len(data.classes))[data.labels]) ** 2).sum(1)
    return errors / 2 if len(data.classes) == 2 else errors


def _whole(data: _Set, value: float, draws: Array, edge_units: int) -> Interval:
    """Interval of a figure that needs every class."""
    if data.gap:
        return Interval(value=None, n=data.num_patients, reason=data.gap)
    return percentile_interval(value, draws, data.num_patients, edge_units=edge_units)


def _absence(names: Sequence[str]) -> str:
    return f"no test image of class {', '.join(names)}" if names else ""


def _empty(classes: Sequence[str]) -> Metrics:
    nothing = Interval(value=None, reason="no images")
    return Metrics(
        auc=nothing,
        accuracy=nothing,
        macro_f1=nothing,
        recall=dict.fromkeys(classes, nothing),
        ece=nothing,
        brier=nothing,
        confusion=tuple((0,) * len(classes) for _ in classes),
        reliability=(),
        num_images=0,
        num_patients=0,
    )


def _ones(data: _Set) -> Array:
    return np.ones((1, data.labels.size))
