"""A matrix gradient kept as its factors: when, how near, how long at most, and exact where sums must be."""

import math

import pytest
import torch
from torch import Tensor

from client.dp_sgd.gradient_forms import Explicit, Product, matrix

ODD = 8191.0  # the largest odd integer of 13 bits


def factors(patients: int, rows: int, columns: int, positions: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return outputs (P, O, T) and inputs (P, I, T) of different sizes for each patient."""
    generator = torch.Generator().manual_seed(seed)
    sizes = 10.0 ** torch.arange(patients).view(-1, 1, 1)
    outputs = torch.randn(patients, rows, positions, generator=generator) * sizes
    return outputs, torch.randn(patients, columns, positions, generator=generator)


@pytest.mark.parametrize(
    ("rows", "columns", "samples", "positions", "form"),
    [
        (128, 128, 1, 1, Product),
        (127, 129, 1, 1, Explicit),  # 16,383 entries
        (128, 256, 1, 127, Product),
        (128, 256, 1, 128, Explicit),  # 2 T^2 is all 32,768 entries
        (128, 256, 2, 64, Explicit),
        (128, 256, 2, 63, Product),
    ],
)
def test_factors_are_kept_where_they_are_smaller(
    rows: int, columns: int, samples: int, positions: int, form: type
) -> None:
    """From 16,384 entries, and where 2 T^2 numbers are fewer than the matrix's; T counts all samples' positions."""
    outputs, inputs = torch.ones(1, samples, rows, positions), torch.ones(1, samples, columns, positions)
    kept = matrix(outputs, inputs)
    assert type(kept) is form
    assert torch.equal(kept.plain_sum(None), torch.full((rows * columns,), float(samples * positions)))


def test_factors_give_the_matrix_to_13_bits() -> None:
    """Norms, sums with and without weights are the multiplied-out gradients', to a thousandth."""
    outputs, inputs = factors(3, 20, 30, 5)
    kept = Product(outputs, inputs)
    whole = (outputs.double() @ inputs.double().mT).flatten(1)
    norms = whole.norm(dim=1)
    assert kept.squared_norms().sqrt().tolist() == pytest.approx(norms.tolist(), rel=1e-3)
    assert (kept.plain_sum(None) - whole.sum(0)).norm() < 1e-3 * norms.max()
    weights = 2.0**44 / norms
    expected = (whole * weights[:, None]).sum(0)
    found = kept.units(weights, None)
    assert found.dtype == torch.int64
    assert (found.double() - expected).norm() < 1e-3 * 2**44


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_patient_left_out_is_not_there(broken: float) -> None:
    """Whatever an excluded patient's factors hold, the sums are those of the others, and its norm is not finite."""
    outputs, inputs = factors(3, 20, 30, 5)
    whole = Product(outputs.clone(), inputs)
    outputs[1, 2, 3] = broken
    kept, excluded = Product(outputs, inputs), torch.tensor([False, True, False])
    weights = torch.full((3,), 2.0**30, dtype=torch.float64)
    assert kept.squared_norms().isfinite().tolist() == [True, False, True]
    assert torch.equal(kept.units(weights, excluded), whole.units(weights, excluded))
    assert torch.equal(kept.plain_sum(excluded), whole.plain_sum(excluded))
    assert not torch.equal(whole.plain_sum(excluded), whole.plain_sum(None))


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 1e30])
def test_no_part_is_longer_than_its_weight_says(size: float) -> None:
    """In whole units, a patient's part has at most the weight times the stated norm, at any size."""
    for seed in range(20):
        outputs, inputs = factors(1, 8, 12, 4, seed)
        kept = Product(outputs.double() * size, inputs.double())
        bound = kept.squared_norms().sqrt()
        part = kept.units(2.0**44 / bound, None)
        assert 0.999 * 2**44 < math.sqrt(sum(unit**2 for unit in part.tolist())) <= 2**44


def test_the_stated_norm_allows_for_what_cancels() -> None:
    """Two positions that cancel leave exactly T^2 / 2^52 of the product of the traces, in the patient's own scale."""
    outputs, inputs = torch.full((1, 2, 2), ODD), torch.full((1, 3, 2), ODD)
    outputs[..., 1] *= -1
    traces = (2 * 2 * 8191**2) * (2 * 3 * 8191**2)
    assert Product(outputs, inputs).squared_norms().tolist() == [traces * 4 / 2**52]
    assert Product(outputs * 4, inputs / 2).squared_norms().tolist() == [traces * 4 * 4 / 2**52]


@pytest.mark.parametrize(("patients", "positions"), [(1, 5), (5, 1), (3, 7)])
def test_sums_are_exact_at_any_weight(patients: int, positions: int) -> None:
    """However large the weights, the sum stays below 2^53 and is exactly a multiple of the factors' integers."""
    shape = (patients, 2, positions)
    kept = Product(torch.full(shape, ODD), torch.full(shape, ODD))
    total = kept.units(torch.full((patients,), 1e30, dtype=torch.float64), None)
    for units in total.tolist():
        assert 2**52 < units <= 2**53
        assert units % (patients * positions * 8191**2) == 0
