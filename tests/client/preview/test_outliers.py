"""Rules of telling values that stand far from the others."""

import numpy as np
import pytest

from client.preview.outliers import robust_z

FAR = 3.5


def test_scores_are_those_of_the_formula() -> None:
    """1, 2, 3, 4, 100 have median 3 and median absolute deviation 1: 100 is 97 / 1.4826 away, 4 is 1 / 1.4826."""
    scores = robust_z(np.array([1.0, 2.0, 3.0, 4.0, 100.0]))
    np.testing.assert_allclose(scores, np.array([-2, -1, 0, 1, 97]) / 1.482602)


def test_where_most_are_equal_the_mean_deviation_serves() -> None:
    """Nine equal values and one other: mean absolute deviation 10 / 10, so the other is 10 / 1.2533 away."""
    scores = robust_z(np.array([5.0] * 9 + [15.0]))
    assert scores[:9].tolist() == [0.0] * 9
    assert scores[9] == pytest.approx(10 / 1.253314)
    assert scores[9] > FAR


def test_equal_values_and_none_have_no_outlier() -> None:
    """No deviation, no score; no values, no scores."""
    assert robust_z(np.full(4, 7.0)).tolist() == [0.0] * 4
    assert robust_z(np.array([])).size == 0
