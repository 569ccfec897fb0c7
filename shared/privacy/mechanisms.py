"""What one release spends: the rows that accountant and ledger agree on.

In: the public parameters of a release. Out: frozen values. All of it may leave the hospital: nothing here
is computed from patients.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from shared.config.values import Frozen


class PoissonGaussian(Frozen):
    """`steps` Gaussian sums, each over patients drawn by independent coins with chance `sample_rate`.

    `noise_multiplier` is the noise's standard deviation over the clip (arXiv 1607.00133).
    """

    kind: Literal["poisson_gaussian"] = "poisson_gaussian"
    noise_multiplier: float = Field(gt=0, le=1e6)
    sample_rate: float = Field(gt=0, le=1)
    steps: int = Field(ge=1, le=10_000_000)


class Gaussian(Frozen):
    """One Gaussian sum over a whole partition; `noise_multiplier` is the standard deviation over the clip."""

    kind: Literal["gaussian"] = "gaussian"
    noise_multiplier: float = Field(gt=0, le=1e6)


class Declared(Frozen):
    """A spend that happened elsewhere and is composed by simple addition, such as private-dp weights."""

    kind: Literal["declared"] = "declared"
    epsilon: float = Field(ge=0, le=1e6)
    delta: float = Field(ge=0, lt=1)


class Unprotected(Frozen):
    """A release without noise: from here on no guarantee holds for the partition (epsilon is infinite)."""

    kind: Literal["unprotected"] = "unprotected"


Mechanism = Annotated[PoissonGaussian | Gaussian | Declared | Unprotected, Field(discriminator="kind")]


class MechanismCount(Frozen):
    """Equal rows counted together; equal Poisson rows are one mechanism with their steps added."""

    mechanism: Mechanism
    rows: int = Field(ge=1)


def merged(mechanisms: Sequence[Mechanism]) -> tuple[MechanismCount, ...]:
    """Count equal rows together, in an order that does not depend on the order of the rows.

    >>> step = PoissonGaussian(noise_multiplier=1.0, sample_rate=0.1, steps=8)
    >>> [(one.rows, one.mechanism.steps) for one in merged([step, step, step])]
    [(3, 24)]
    """
    counts: dict[Mechanism, int] = {}
    steps: dict[tuple[float, float], int] = {}
    poisson_rows: dict[tuple[float, float], int] = {}
    for mechanism in mechanisms:
        if isinstance(mechanism, PoissonGaussian):
            key = (mechanism.noise_multiplier, mechanism.sample_rate)
            steps[key] = steps.get(key, 0) + mechanism.steps
            poisson_rows[key] = poisson_rows.get(key, 0) + 1
        else:
            counts[mechanism] = counts.get(mechanism, 0) + 1
    rows = [MechanismCount(mechanism=mechanism, rows=count) for mechanism, count in counts.items()]
    for key, total in steps.items():
        added = PoissonGaussian(noise_multiplier=key[0], sample_rate=key[1], steps=total)
        rows.append(MechanismCount(mechanism=added, rows=poisson_rows[key]))
    return tuple(sorted(rows, key=lambda row: row.mechanism.model_dump_json()))
