"""Coarse numbers and deltas."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from client.setup.proposals.numbers import coarse, proposed_delta, rounded_up, serving


@pytest.mark.parametrize(
    ("number", "below"),
    [
        (0, 10),
        (9, 10),
        (10, 10),
        (11, 10),
        (12, 12),
        (66, 60),
        (99, 80),
        (100, 100),
        (119, 100),
        (1000, 1000),
        (12_345, 12_000),
    ],
)
def test_numbers_are_rounded_down_to_few_digits(number: int, below: int) -> None:
    """Two digits at most are left, and nothing is rounded up but what is below ten."""
    assert coarse(number) == below


@given(some.integers(10, 10**7))
def test_both_proposals_serve(number: int) -> None:
    """Between 0.5 and 1.25 of the declared number check has nothing to say, and both proposals lie there."""
    below, above = serving(number)
    assert below <= number < above
    assert number / below <= 1.25
    assert number / above >= 0.5
    assert coarse(below) == below
    assert coarse(above) == above


@given(some.integers(10, 10**6))
def test_the_pair_hides_one_patient_within_a_step(number: int) -> None:
    """As long as the rounded number is the same the pair is, and at a step the number in common can be typed."""
    assert {*serving(number)} & {*serving(number + 1)}


@given(some.integers(1, 10**8))
def test_delta_is_one_that_a_site_accepts(declared: int) -> None:
    """Without a study it is 1e-5, or less where the declared number asks for it: at most 1 / (10 x declared)."""
    delta = proposed_delta(declared, None)
    assert 0 < delta <= 1 / (10 * declared)
    assert delta == 1e-5 or declared > 10_000


@pytest.mark.parametrize(("epsilon", "cap"), [(7.97, 8.0), (8.0, 8.0), (8.01, 8.5), (0.2, 0.5)])
def test_a_cap_is_a_half_or_whole_number(epsilon: float, cap: float) -> None:
    """The next half above."""
    assert rounded_up(epsilon) == cap
