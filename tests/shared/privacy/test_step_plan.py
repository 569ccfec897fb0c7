"""A round's public numbers come from the study and the declared size, and make sense or are refused."""

import math
from dataclasses import replace
from datetime import date

import pytest

from shared.config.federation import Federation
from shared.config.study import Privacy, StudyConfig, Task
from shared.errors import PrivacyError
from shared.privacy.step_plan import StepPlan, step_plan

PLAN = StepPlan(
    steps=5,
    sample_rate=0.2,
    noise_multiplier=1.0,
    max_grad_norm=1.0,
    learning_rate=0.5,
    momentum=0.9,
    normaliser=8.0,
)


def study(**privacy: object) -> StudyConfig:
    """Return a study with these privacy fields."""
    return StudyConfig(
        name="s",
        purpose="p",
        ethics_reference="e",
        expires=date(2030, 1, 1),
        task=Task(classes=("a", "b")),
        privacy=Privacy(**privacy),
        federation=Federation(steps=7, learning_rate=0.3, momentum=0.8),
    )


def test_the_normaliser_is_public() -> None:
    """Every number is the study's; the sum is divided by sample_rate x declared patients."""
    plan = step_plan(study(noise_multiplier=1.3, sample_rate=0.1, max_grad_norm=2.0), 1, 250, 4)
    assert plan == StepPlan(
        steps=7,
        sample_rate=0.1,
        noise_multiplier=1.3,
        max_grad_norm=2.0,
        learning_rate=0.3,
        momentum=0.8,
        normaliser=25.0,
        patients_per_chunk=4,
    )


def test_steps_fall_along_a_line_over_the_rounds() -> None:
    """The first round takes the study's step, the last its final one, those between lie on a line."""
    base = study(noise_multiplier=1.0)
    rules = base.federation.model_copy(update={"rounds": 5, "learning_rate": 0.5, "final_learning_rate": 0.1})
    falling = base.model_copy(update={"federation": rules})
    rates = [step_plan(falling, number, 100).learning_rate for number in range(1, 6)]
    assert rates == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])
    assert {step_plan(base, number, 100).learning_rate for number in range(1, 5)} == {0.3}
    assert rules.model_copy(update={"rounds": 1}).learning_rate_in(1) == 0.5


def test_steps_that_grow_are_refused() -> None:
    """A final step above the first one is a mistake that the study's author hears of."""
    with pytest.raises(ValueError, match=r"final_learning_rate must be at most learning_rate \(0\.3\)"):
        Federation(learning_rate=0.3, final_learning_rate=0.4)


def test_noise_must_be_calibrated_first() -> None:
    """A private study without a noise multiplier is refused."""
    with pytest.raises(PrivacyError, match=r"privacy\.noise_multiplier is missing"):
        step_plan(study(), 1, 100)


def test_without_privacy_the_clip_stays() -> None:
    """With privacy off the noise is zero and the clip the study's."""
    plan = step_plan(study(enabled=False, noise_multiplier=1.3, max_grad_norm=2.0), 1, 100)
    assert (plan.noise_multiplier, plan.max_grad_norm) == (0.0, 2.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 0),
        ("sample_rate", 0.0),
        ("sample_rate", 1.1),
        ("noise_multiplier", -1.0),
        ("noise_multiplier", math.nan),
        ("noise_multiplier", math.inf),
        ("noise_multiplier", 0.05),
        ("noise_multiplier", 20000.0),
        ("max_grad_norm", 0.0),
        ("max_grad_norm", 20000.0),
        ("learning_rate", 1e-7),
        ("learning_rate", 1600000.0),
        ("max_grad_norm", math.nan),
        ("learning_rate", 0.0),
        ("learning_rate", math.inf),
        ("momentum", 1.0),
        ("momentum", -0.1),
        ("normaliser", 0.0),
        ("normaliser", math.inf),
        ("normaliser", math.nan),
        ("patients_per_chunk", 0),
    ],
)
def test_a_number_out_of_range_is_refused(field: str, value: float) -> None:
    """Each number out of its range is one PrivacyError that names field, value and what is allowed."""
    with pytest.raises(PrivacyError, match=rf"^{field} is {value}, allowed is .*; correct the study$"):
        replace(PLAN, **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("steps", 1), ("sample_rate", 1e-9), ("sample_rate", 1.0), ("noise_multiplier", 0.0),
        ("noise_multiplier", 0.1), ("noise_multiplier", 1e4), ("max_grad_norm", 1e-4), ("max_grad_norm", 1e4),
        ("learning_rate", 1e-6), ("learning_rate", 100.0), ("momentum", 0.0), ("momentum", 0.999),
        ("normaliser", 1e-3), ("patients_per_chunk", 1),
    ],
)  # fmt: skip
def test_both_ends_of_a_range_are_allowed(field: str, value: float) -> None:
    """The first and the last allowed value of each number make a plan."""
    assert getattr(replace(PLAN, **{field: value}), field) == value


def test_a_chunk_is_16_patients_or_all() -> None:
    """Unless a device says otherwise; fewer declared patients than that make one chunk."""
    assert PLAN.patients_per_chunk == 16
    sizes = [step_plan(study(noise_multiplier=1.0), 1, declared).patients_per_chunk for declared in (10, 100)]
    assert sizes == [10, 16]


def test_noise_needs_a_clip() -> None:
    """Noise without a bound on a patient's gradient protects nobody and is refused."""
    with pytest.raises(PrivacyError, match="max_grad_norm is inf"):
        replace(PLAN, max_grad_norm=math.inf)
    assert replace(PLAN, max_grad_norm=math.inf, noise_multiplier=0.0).max_grad_norm == math.inf


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_influence_is_what_one_gradient_moves(momentum: float) -> None:
    """influence(step) is how far SGD with momentum moves when the gradient is 1 in that step alone."""
    plan = replace(PLAN, momentum=momentum)
    for only in range(plan.steps):
        weight = velocity = 0.0
        for step in range(plan.steps):
            velocity = momentum * velocity + float(step == only)
            weight += plan.learning_rate * velocity
        assert plan.influence(only) == pytest.approx(weight, rel=1e-12)
