"""The likeness of two mean maps is Spearman's, and its interval is over patients, not images."""

import numpy as np
import pytest
from scipy import stats

from server.audit.drift import _interval, _spearman, _weights


def test_likeness_is_scipys_spearman() -> None:
    """Each row by itself, ties included; a flat map is like no other."""
    random = np.random.default_rng(0)
    first, second = random.integers(0, 9, (2, 5, 49)).astype(float)
    expected = [stats.spearmanr(a, b).statistic for a, b in zip(first, second, strict=True)]
    assert _spearman(first, second) == pytest.approx(expected, rel=1e-12)
    assert np.isnan(_spearman(np.ones((1, 49)), first[:1])).all()


def test_images_of_a_patient_are_drawn_together() -> None:
    """In each of 1,000 resamples a patient's images have one weight; the weights are as many as patients."""
    patients = [7, 7, *range(100, 130)]
    weights = _weights(patients)
    assert weights.shape == (1000, 32)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert set(weights[:, 1:].sum(1)) == {31}
    assert len(np.unique(weights[:, 5])) > 2


def test_few_patients_have_no_interval() -> None:
    """Below five patients each image counts once and the figure stands alone, with a reason; from five it has one."""
    few, enough = _weights([*range(4), 3]), _weights(range(5))
    assert np.array_equal(few, np.ones((1, 5)))
    assert enough.shape == (1000, 5)
    alone = _interval(0.5, np.array([0.5]), 5, few)
    assert (alone.value, alone.n, alone.low, alone.high) == (0.5, 5, None, None)
    assert alone.reason
    full = _interval(0.5, np.linspace(0, 1, 1001), 5, enough)
    assert (full.low, full.high) == (pytest.approx(0.025), pytest.approx(0.975))
