import numpy as np
import pytest

from server.public_data.brightness_baseline import trivial_features, trivial_probabilities


def _images(levels: list[int], count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(levels)
    noise = rng.normal(0, 20, (count, 32, 32, 1))
    pixels = np.clip(np.array(levels)[labels][:, None, None, None] + noise, 0, 255)
    return np.repeat(pixels, 3, axis=3).astype(np.uint8), labels


def test_twelve_numbers_by_hand() -> None:
    """A white top border on black gives its share of the mean, and full corners and border on top only."""
    image = np.zeros((1, 32, 32, 3), np.uint8)
    image[0, :4] = 255
    found = trivial_features(image)[0]
    assert found.shape == (12,)
    assert found[0] == pytest.approx(1 / 8)
    assert found[1] == pytest.approx(np.sqrt(7) / 8)
    assert found[2:8] == pytest.approx([0, 1, 1, 1, 0, 0])
    assert found[8:] == pytest.approx([1, 0, 1 / 8, 1 / 8])


def test_brightness_is_seen_and_shape_is_not() -> None:
    """Classes that differ in brightness are told apart; mirrored copies of one shape are not."""
    train, labels = _images([90, 120, 150], 90, 0)
    test, truth = _images([90, 120, 150], 60, 1)
    assert (trivial_probabilities(train, labels, test, 3).argmax(1) == truth).mean() > 0.95
    inside = np.zeros((2, 32, 32, 3), np.uint8)
    inside[0, 10:14, 8:24] = 200
    inside[1, 8:24, 10:14] = 200
    assert trivial_features(inside)[0] == pytest.approx(trivial_features(inside)[1])


def test_missing_classes_get_no_probability() -> None:
    """A class that the cohort lacks has probability 0; a cohort of one class gives it 1."""
    train, labels = _images([90, 150], 20, 0)
    found = trivial_probabilities(train, labels, train[:5], 3)
    assert found.shape == (5, 3)
    assert found.sum(1) == pytest.approx(np.ones(5))
    assert found[:, 2] == pytest.approx(np.zeros(5))
    assert trivial_probabilities(train, np.ones(20), train[:2], 3) == pytest.approx(np.eye(3)[[1, 1]])


def test_empty_cohort_is_a_sentence() -> None:
    """A cohort without images cannot be fitted and says so."""
    nothing = np.zeros((0, 8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="the cohort has no images"):
        trivial_probabilities(nothing, [], nothing, 2)
