import time

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, recall_score, roc_auc_score

from server.metrics.intervals import Interval, percentile_interval, weighted_auc
from server.metrics.metrics import evaluate, fit_temperature, paired_difference, tempered

BINARY = ("normal", "pneumonia")
THREE = ("a", "b", "c")


def _draw(seed: int, count: int, num_classes: int, skill: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % num_classes)
    logits = rng.normal(size=(count, num_classes)) + skill * np.eye(num_classes)[labels]
    return softmax(logits, axis=1), labels


@pytest.mark.parametrize("positive", BINARY)
def test_binary_figures_equal_sklearn(positive: str) -> None:
    """AUC of the positive class, accuracy, F1, recall and Brier score equal scikit-learn's."""
    p, y = _draw(0, 120, 2)
    p = p.round(1)  # ties
    found = evaluate(p, y, np.arange(120), BINARY, positive, num_resamples=50)
    index = BINARY.index(positive)
    assert found.auc.value == pytest.approx(roc_auc_score(y == index, p[:, index]), abs=1e-12)
    assert found.accuracy.value == pytest.approx(accuracy_score(y, p.argmax(1)))
    assert found.macro_f1.value == pytest.approx(f1_score(y, p.argmax(1), average="macro"))
    assert found.recall["pneumonia"].value == pytest.approx(recall_score(y, p.argmax(1)))
    assert found.brier.value == pytest.approx(brier_score_loss(y, p[:, 1]))


def test_three_class_figures_equal_sklearn() -> None:
    """With three classes the AUC is the mean of one against the rest, and F1 and Brier equal scikit-learn's."""
    p, y = _draw(1, 150, 3)
    found = evaluate(p, y, np.arange(150), THREE, num_resamples=50)
    assert found.auc.value == pytest.approx(
        roc_auc_score(y, p, multi_class="ovr", average="macro"), abs=1e-12
    )
    assert found.macro_f1.value == pytest.approx(f1_score(y, p.argmax(1), average="macro"))
    assert found.brier.value == pytest.approx(brier_score_loss(y, p))
    assert np.sum(found.confusion) == 150


def test_weighted_auc_equals_repeated_rows() -> None:
    """A weight of k on an image equals k copies of it."""
    p, y = _draw(2, 40, 2)
    weights = np.random.default_rng(3).integers(0, 4, 40)
    repeated = roc_auc_score(np.repeat(y, weights), np.repeat(p[:, 1], weights))
    assert weighted_auc(p[:, 1], y == 1, weights[None].astype(float))[0] == pytest.approx(repeated, abs=1e-12)


def test_calibration_error_by_hand() -> None:
    """Two bins of two images, off by 0.05 and 0.4, give an error of 0.225."""
    p = np.array([[0.95, 0.05], [0.95, 0.05], [0.9, 0.1], [0.1, 0.9]])
    found = evaluate(p, [0, 0, 0, 0], [0, 1, 2, 3], BINARY, num_resamples=10)
    assert found.ece.value == pytest.approx((2 * 0.05 + 2 * 0.4) / 4)
    assert [one.num_images for one in found.reliability] == [2, 2]


def test_absent_class_is_none_with_reason() -> None:
    """Without images of a class, what needs it is None and says why; the rest is still measured."""
    p, y = _draw(4, 30, 3)
    found = evaluate(p[y < 2], y[y < 2], np.arange((y < 2).sum()), THREE, num_resamples=30)
    assert (found.auc.value, found.auc.reason) == (None, "no test image of class c")
    assert found.recall["c"].value is None
    assert found.macro_f1.value is None
    assert found.recall["a"].value is not None
    assert found.accuracy.low is not None


def test_no_images_is_no_crash() -> None:
    """An empty test set gives None everywhere."""
    found = evaluate(np.zeros((0, 2)), [], [], BINARY)
    assert (found.auc.value, found.num_images, found.auc.reason) == (None, 0, "no images")


def test_intervals_cover_the_truth() -> None:
    """About 95 of 100 intervals of accuracy hold the true value, with three dependent images a patient."""
    rng, hits = np.random.default_rng(5), 0
    for _ in range(200):
        right = rng.random(60) < 0.7  # one draw a patient: its three images are right or wrong together
        p = np.where(np.repeat(right, 3)[:, None], [0.8, 0.2], [0.2, 0.8])
        found = evaluate(p, np.zeros(180, int), np.repeat(np.arange(60), 3), BINARY, num_resamples=200)
        assert found.accuracy.low is not None
        assert found.accuracy.high is not None
        hits += found.accuracy.low <= 0.7 <= found.accuracy.high
    assert 0.90 <= hits / 200 <= 0.985


def test_intervals_count_patients_not_images() -> None:
    """Copying every image of every patient does not make an interval narrower."""
    p, y = _draw(6, 60, 2)
    once = evaluate(p, y, np.arange(60), BINARY)
    copied = evaluate(np.tile(p, (4, 1)), np.tile(y, 4), np.tile(np.arange(60), 4), BINARY)
    assert copied.auc == once.auc


def test_perfect_score_is_not_certain() -> None:
    """Without a single error the interval still reaches down to the exact bound of the smaller class."""
    p, y = np.array([[0.9, 0.1]] * 10 + [[0.1, 0.9]] * 20), np.array([0] * 10 + [1] * 20)
    found = evaluate(p, y, np.arange(30), BINARY, num_resamples=200)
    assert found.auc.value == 1
    assert found.auc.low == pytest.approx(0.025 ** (1 / 10))
    assert found.accuracy.low == pytest.approx(0.025 ** (1 / 30))


def test_paired_difference_has_sign_and_is_narrower() -> None:
    """A better model's difference lies above 0, swaps sign with order, and beats unpaired intervals."""
    rng = np.random.default_rng(7)
    y = np.arange(200) % 2
    noise = rng.normal(size=200)
    better, worse = (1 / (1 + np.exp(-(s * (2 * y - 1) + noise))) for s in (1.0, 0.7))
    a, b = (np.stack([1 - p, p], 1) for p in (better, worse))
    forth = paired_difference(a, b, y, np.arange(200), BINARY)
    back = paired_difference(b, a, y, np.arange(200), BINARY)
    assert forth.low is not None
    assert forth.high is not None
    assert forth.low > 0
    assert (back.value, back.low) == (pytest.approx(-(forth.value or 0)), pytest.approx(-forth.high))
    alone = evaluate(a, y, np.arange(200), BINARY).auc
    assert forth.high - forth.low < (alone.high or 0) - (alone.low or 0)


def test_same_model_differs_by_nothing() -> None:
    """A model minus itself is 0 with an interval of 0."""
    p, y = _draw(8, 50, 2)
    assert paired_difference(p, p, y, np.arange(50), BINARY) == Interval(value=0.0, low=0.0, high=0.0, n=50)


def test_too_few_resamples_give_no_interval() -> None:
    """Draws that are almost all undefined give a value without an interval."""
    found = percentile_interval(0.5, np.full(100, np.nan), 3)
    assert (found.value, found.low) == (0.5, None)
    assert found.reason


def test_seed_decides_the_interval() -> None:
    """The same seed gives the same interval, another seed another one."""
    p, y = _draw(9, 60, 2)
    first, again, other = (evaluate(p, y, np.arange(60), BINARY, seed=seed).auc for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_temperature_is_found(true: float) -> None:
    """Logits multiplied by T from labels drawn at temperature 1 give T back."""
    rng = np.random.default_rng(10)
    logits = rng.normal(size=(8000, 3)) * 2
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(1)
    assert fit_temperature(logits * true, labels) == pytest.approx(true, rel=0.06)


def test_temperature_is_clamped() -> None:
    """Perfect logits would sharpen for ever and wrong ones flatten for ever: both stop at the clamp."""
    assert fit_temperature(np.eye(2), [0, 1]) == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(np.eye(2), [1, 0]) == pytest.approx(20, rel=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused(bad: float) -> None:
    """Non-finite probabilities and logits are a sentence, not a figure."""
    with pytest.raises(ValueError, match="not all finite"):
        evaluate([[bad, 0.5]], [0], [0], BINARY)
    with pytest.raises(ValueError, match="not all finite"):
        fit_temperature([[bad, 0.5]], [0])


def test_two_thousand_images_take_less_than_a_second() -> None:
    """500 resamples of 2,000 images take at most 1 s of this process's time."""
    p, y = _draw(11, 2000, 2)
    start = time.process_time()
    evaluate(p, y, np.arange(2000) // 2, BINARY)
    assert time.process_time() - start < 1


def test_tempered_probabilities_are_those_of_the_divided_logits() -> None:
    """What temperature does to probabilities equals the softmax of the logits divided by it, also far out."""
    logits = np.array([[2.0, -1.0, 0.5], [0.0, 300.0, 1.0]])
    for temperature in (0.5, 1.0, 2.0):
        found = tempered(softmax(logits, axis=1), temperature)
        assert found == pytest.approx(softmax(logits / temperature, axis=1), abs=1e-12)
