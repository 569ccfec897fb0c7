"""The step plan's checks, and the bound on an honest update."""

import math
from dataclasses import replace

import pytest
import torch

from shared.errors import PrivacyError
from shared.privacy.bounds import update_norm_bound
from shared.privacy.step_plan import StepPlan

PLAN = StepPlan(
    steps=3,
    sample_rate=0.1,
    noise_multiplier=0.8,
    max_grad_norm=1.0,
    learning_rate=0.5,
    momentum=0.5,
    normaliser=60.0,
)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("sample_rate", 0.0),
        ("sample_rate", 1.1),
        ("noise_multiplier", -1.0),
        ("noise_multiplier", math.nan),
        ("max_grad_norm", 0.0),
        ("max_grad_norm", math.inf),
        ("learning_rate", math.inf),
        ("momentum", 1.0),
        ("normaliser", 0.0),
        ("patients_per_chunk", 0),
    ],
)
def test_a_wrong_number_is_refused_by_name(field: str, value: float) -> None:
    """Each field has a range; a clip of inf is refused beside noise."""
    with pytest.raises(PrivacyError, match=f"{field} is"):
        replace(PLAN, **{field: value})


def test_influence_counts_the_momentum_of_later_steps() -> None:
    """For three steps: lr (1 + m + m^2), lr (1 + m), lr."""
    assert [PLAN.influence(step) for step in range(3)] == pytest.approx([0.875, 0.75, 0.5])


def test_bound_is_the_formula_for_full_batches() -> None:
    """With sample rate 1 the batch is everybody: signal 2.125 * 600 / 60, noise by hand."""
    plan = replace(PLAN, sample_rate=1.0)
    noise = 0.8 / 60 * math.sqrt(0.875**2 + 0.75**2 + 0.5**2) * (100 + math.sqrt(2 * math.log(2e9)))
    assert update_norm_bound(plan, 10_000, 600) == pytest.approx(1.0001 * (2.125 * 10 + noise), rel=1e-9)


def test_bound_is_the_formula_for_sampled_batches() -> None:
    """With sample rate 0.1 Bernstein's bound on 600 coins stands for the batch; its chance is shared by 3 steps."""
    tail = math.log(6e9)
    batch = 60 + math.sqrt(2 * 60 * 0.9 * tail) + tail / 3
    bound = update_norm_bound(replace(PLAN, noise_multiplier=0.0), 10_000, 600)
    assert bound == pytest.approx(1.0001 * 2.125 * batch / 60, rel=1e-9)


def test_a_batch_is_never_more_than_everybody() -> None:
    """For 20 declared patients Bernstein's bound is 31: the batch is 20."""
    plan = replace(PLAN, sample_rate=0.5, noise_multiplier=0.0, normaliser=10.0)
    assert update_norm_bound(plan, 10_000, 20) == pytest.approx(1.0001 * 2.125 * 2, rel=1e-9)


def test_honest_noise_stays_below_and_close_to_the_bound() -> None:
    """For 50,000 parameters and no signal, noise is within the noise part but above 0.9 of it."""
    noise_part = update_norm_bound(PLAN, 50_000, 600) - update_norm_bound(
        replace(PLAN, noise_multiplier=0.0), 50_000, 600
    )
    generator = torch.Generator().manual_seed(0)
    spread = 0.8 / 60 * math.hypot(0.875, 0.75, 0.5)
    for _ in range(20):
        length = spread * torch.randn(50_000, generator=generator).norm().item()
        assert 0.9 * noise_part < length < noise_part


def test_batches_stay_below_the_bound_on_their_size() -> None:
    """The signal part allows for more than the expected batch: above the largest of 20,000 binomial draws."""
    signal = update_norm_bound(replace(PLAN, noise_multiplier=0.0), 1, 600)
    draws = torch.binomial(
        torch.full((20_000,), 600.0), torch.full((20_000,), 0.1), generator=torch.Generator().manual_seed(0)
    )
    assert 2.125 * draws.max().item() / 60 < signal < 2.125 * 2.2


def test_without_a_clip_there_is_no_bound() -> None:
    """Privacy off, clip inf: anything is accepted."""
    plan = replace(PLAN, noise_multiplier=0.0, max_grad_norm=math.inf)
    assert update_norm_bound(plan, 10, 600) == math.inf
