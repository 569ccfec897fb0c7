"""The filter's steps against Bayes' rule written out, and what noise, patients and rounds do to them."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from server.rounds.merging import FilterMerge, MeanMerge, merge_of
from shared.errors import StudyError
from shared.models.compact import build_compact
from shared.models.readout import Readout
from shared.privacy.learning_forecast import filter_gain
from tests.readout_study import readout_study

PRIOR_VARIANCE = 0.04
WEIGHT, BIAS = "readout.linear.weight", "readout.linear.bias"


def readout_of(curvature: float = 0.02) -> Readout:
    """Return a readout of 96 features with 64 orthonormal directions of curvatures that fall."""
    readout = Readout(3, 1, 2)
    generator = torch.Generator().manual_seed(0)
    readout.directions.copy_(torch.linalg.qr(torch.randn(96, 64, generator=generator))[0].T)
    readout.curvature.copy_(curvature * torch.linspace(1, 0.1, 66))
    readout.clip.fill_(1.5)
    return readout


def hessian(readout: Readout) -> np.ndarray:
    """Return the curvature as a matrix (97, 97) over a class's weights and bias."""
    rows, h = readout.directions.double().numpy(), readout.curvature.double().numpy()
    whole = np.zeros((97, 97))
    whole[:96, :96] = rows.T @ np.diag(h[:64]) @ rows + h[64] * (np.eye(96) - rows.T @ rows)
    whole[96, 96] = h[65]
    return whole


@pytest.mark.parametrize("declared", [(300, 300, 300), (40, 900), (12,)])
def test_rounds_end_where_bayes_says(declared: Sequence[int]) -> None:
    """Three rounds of gradients of a quadratic loss give the posterior's mean and variance, by dense matrices."""
    study, readout = readout_study(), readout_of()
    matrix = hessian(readout)
    generator = np.random.default_rng(1)
    optimum = generator.normal(size=(2, 97)) * 0.1
    weights, carried, merge = np.zeros((2, 97)), {}, FilterMerge(study, readout)
    precision, information = np.eye(97) / PRIOR_VARIANCE, np.zeros((2, 97))
    patients, sites = sum(declared), len(declared)
    noise = sites * (1.2 * 1.5 / patients) ** 2 * np.eye(97) + 3 * matrix / patients
    for number in (1, 2, 3):
        gradient = (weights - optimum) @ matrix + generator.normal(size=(2, 97)) * 1e-3
        update = -0.5 * gradient  # a site's learning rate times its mean gradient
        step, carried = merge(
            carried, {WEIGHT: update[:, :96].astype(np.float32), BIAS: update[:, 96].astype(np.float32)},
            declared, number,
        )  # fmt: skip
        # y = H (optimum - w) + e, e ~ N(0, noise): an observation of the optimum itself
        seen = -gradient + weights @ matrix
        precision += matrix @ np.linalg.inv(noise) @ matrix
        information += seen @ np.linalg.inv(noise) @ matrix
        weights = weights + np.concatenate([step[WEIGHT], step[BIAS][:, None]], axis=1)
    np.testing.assert_allclose(weights, information @ np.linalg.inv(precision), rtol=2e-3, atol=1e-5)
    rows = readout.directions.double().numpy()
    variances = np.diag(rows @ np.linalg.inv(precision)[:96, :96] @ rows.T)
    np.testing.assert_allclose(carried["filter.variance"][:64], variances, rtol=1e-3)


def test_few_patients_move_it_little_and_many_take_newtons_step() -> None:
    """The gain falls with the square of what noise hides, and reaches 1 / h where nothing is hidden."""
    h = readout_of().curvature.double().numpy()
    start = np.full(66, PRIOR_VARIANCE)
    tiny, small, large = (filter_gain(readout_study(), start, h, (n, n)) for n in (5, 50, 50_000_000))
    assert (tiny < 0.02 * small).all()
    np.testing.assert_allclose(large, 1 / h, rtol=1e-3)
    assert (small * h < 0.1).all()
    louder = filter_gain(readout_study(**{"privacy.noise_multiplier": 12.0}), start, h, (50, 50))
    assert (louder < 0.02 * small).all()


def test_without_privacy_chance_alone_is_weighed() -> None:
    """No noise is no division by zero: which patients there are still counts."""
    h = readout_of().curvature.double().numpy()
    gain = filter_gain(readout_study(**{"privacy.enabled": False}), np.full(66, 0.04), h, (100,))
    np.testing.assert_allclose(gain, 0.04 / (h * 0.04 + 3 / 100), rtol=1e-6)


def test_a_study_gets_the_merge_that_it_asks_for() -> None:
    """The mean unless it asks; and statistics that were taken with another clip are refused."""
    compact = build_compact(readout_study())
    assert compact.readout is not None
    compact.readout.clip.fill_(1.5)
    assert isinstance(merge_of(readout_study(), compact), FilterMerge)
    assert isinstance(merge_of(readout_study(**{"federation.merge": "mean"}), compact), MeanMerge)
    compact.readout.clip.fill_(1.0)
    with pytest.raises(StudyError, match=r"max_grad_norm is 1\.5, allowed with these initial weights is 1:"):
        merge_of(readout_study(), compact)


def test_the_mean_is_taken_as_it_is_and_momentum_keeps_a_share_of_the_last() -> None:
    """Without momentum nothing is carried."""
    mean = {"w": np.array([1.0, 2.0], np.float32)}
    plain = MeanMerge(readout_study(**{"federation.merge": "mean"}))
    assert plain({}, mean, (3,), 1) == (mean, {})
    heavy = MeanMerge(readout_study(**{"federation.merge": "mean", "federation.server_momentum": 0.5}))
    step, carried = heavy({}, mean, (3,), 1)
    assert step["w"].tolist() == [1, 2]
    step, _ = heavy(carried, mean, (3,), 2)
    assert step["w"].tolist() == [1.5, 3]
