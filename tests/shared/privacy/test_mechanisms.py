"""What a release spends is a number that the accountants can take, or it is refused."""

import pytest
from pydantic import ValidationError

from shared.privacy.mechanisms import Declared, Gaussian, MechanismCount, PoissonGaussian

POISSON = PoissonGaussian(noise_multiplier=1.0, sample_rate=0.5, steps=1)
COUNT = MechanismCount(mechanism=POISSON, rows=1)
Made = PoissonGaussian | Gaussian | Declared | MechanismCount


@pytest.mark.parametrize(
    ("made", "field", "ends", "beyond"),
    [
        (POISSON, "noise_multiplier", (1e-9, 1e6), (0.0, 1.001e6, float("nan"))),
        (POISSON, "sample_rate", (1e-9, 1.0), (0.0, 1.001)),
        (POISSON, "steps", (1, 10_000_000), (0, 10_000_001)),
        (Gaussian(noise_multiplier=1.0), "noise_multiplier", (1e-9, 1e6), (0.0, 1.001e6, float("inf"))),
        (Declared(epsilon=1, delta=0.5), "epsilon", (0.0, 1e6), (-1e-9, 1.001e6, float("inf"))),
        (Declared(epsilon=1, delta=0.5), "delta", (0.0, 0.999), (-1e-9, 1.0)),
        (COUNT, "rows", (1, 10**9), (0,)),
    ],
)
def test_each_number_has_a_range(
    made: Made, field: str, ends: tuple[float, ...], beyond: tuple[float, ...]
) -> None:
    """Both ends of the range are allowed, and what lies beyond is not."""
    for value in ends:
        assert getattr(type(made).model_validate(made.model_dump() | {field: value}), field) == value
    for value in beyond:
        with pytest.raises(ValidationError, match=field):
            type(made).model_validate(made.model_dump() | {field: value})
