"""What is kept of the patients' gradients of one parameter until their weights are known.

In: per-patient gradients, or the two factors of a matrix gradient. Out: their norms, and their weighted sum in whole
units of a public grid. Everything here is a patient's and stays at the site; only a clipped, noised sum may leave.

Whatever is summed is an integer, so that sums are exact: they depend neither on their order nor on who else is there,
and their norm is that of the very numbers that were measured (`docs/privacy-bounds.md` has the proof).
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

FACTOR_BITS = 13  # of a matrix gradient's factors: sums of products stay below 2^53, where float64 is exact
EXACT_BITS = 53
SMALLEST_PRODUCT = 16_384  # entries of a matrix; smaller ones are multiplied out, at little cost


class Kept(Protocol):
    """One parameter's gradient of each of P patients, in whatever form takes the least room."""

    def squared_norms(self) -> Tensor:
        """Return upper bounds of the squared L2 norms (P,) float64, not finite where a value is not."""

    def units(self, weights: Tensor, excluded: Tensor | None) -> Tensor:
        """Return the sum over patients of weights[p] * gradient_p rounded towards 0 to whole units, flat int64.

        `weights` (P,) float64 turn gradients into units. No patient's part is longer than weights[p] times its norm.
        `excluded` (P,) marks patients left out whatever their gradient holds; None when there are none.
        """

    def plain_sum(self, excluded: Tensor | None) -> Tensor:
        """Return the sum over patients as it is, flat: for training without a clip."""


class Explicit:
    """The gradients themselves, (P, *parameter shape)."""

    def __init__(self, gradients: Tensor) -> None:
        self.values = gradients.flatten(1)

    def squared_norms(self) -> Tensor:
        """Return the squared L2 norms, (P,) float64: squares of float32 are exact there and cannot overflow."""
        squares: Tensor = torch.linalg.vector_norm(self.values, dim=1, dtype=torch.float64).square()
        return squares

    def units(self, weights: Tensor, excluded: Tensor | None) -> Tensor:
        """Return the weighted sum over patients, each number rounded towards 0."""
        weighted = _without(excluded, self.values).double() * weights[:, None]
        total: Tensor = weighted.long().sum(0)  # long() cuts the fraction off
        return total

    def plain_sum(self, excluded: Tensor | None) -> Tensor:
        """Return the sum over patients."""
        return _without(excluded, self.values).sum(0)


class Product:
    """A matrix gradient as its two factors, outputs (P, O, T) times inputs (P, I, T): never multiplied out.

    Each patient's factors are rounded to integers of 13 bits beside a power of two of the patient's own; the gradient
    is what these make. |sum_t o_t i_t'|^2 = sum_{t,u} (o_t . o_u)(i_t . i_u) (arXiv 2009.03106, 2205.10683) then rests
    on exact sums; only the last one is rounded, and an upper bound of its error is added, since it may cancel.
    Takes less time and room than the P matrices where 2 T^2 < O I.
    """

    def __init__(self, outputs: Tensor, inputs: Tensor) -> None:
        self._outputs, output_scales = _integers(outputs)
        self._inputs, input_scales = _integers(inputs)
        self._scales = output_scales * input_scales  # (P,) powers of two, nan where a value is not finite
        self._positions = outputs.shape[2]

    def squared_norms(self) -> Tensor:
        """Return upper bounds of the squared L2 norms, (P,) float64."""
        outputs = torch.bmm(self._outputs.mT, self._outputs)
        inputs = torch.bmm(self._inputs.mT, self._inputs)
        squares = (outputs * inputs).sum((1, 2)).clamp_min(0)
        # T^2 terms: none is larger than the product of the traces, each addition is off by at most 2^-53 of their sum
        traces = outputs.diagonal(dim1=1, dim2=2).sum(1) * inputs.diagonal(dim1=1, dim2=2).sum(1)
        bounds: Tensor = squares + traces * (self._positions**2 * 2.0 ** (1 - EXACT_BITS))
        return bounds * self._scales.square()

    def units(self, weights: Tensor, excluded: Tensor | None) -> Tensor:
        """Return the weighted sum over patients: a whole multiple of each patient's integers, in one matrix product.

        The multiple is held so small that no sum can reach 2^53, whoever else is in the chunk.
        """
        most = (1 << EXACT_BITS - 2 * FACTOR_BITS) // (len(weights) * self._positions)
        multiples = (weights * self._scales).floor().clamp(max=float(most))
        return self._sum(_without(excluded, multiples), excluded).long()

    def plain_sum(self, excluded: Tensor | None) -> Tensor:
        """Return the sum over patients."""
        return self._sum(_without(excluded, self._scales), excluded)

    def _sum(self, factors: Tensor, excluded: Tensor | None) -> Tensor:
        """Return sum_p factors[p] * outputs_p inputs_p', flat, as one product over patients and positions."""
        weighted = _without(excluded, self._outputs) * factors[:, None, None]
        left = weighted.transpose(0, 1).flatten(1)
        right = _without(excluded, self._inputs).transpose(0, 1).flatten(1)
        return (left @ right.T).flatten()


def matrix(outputs: Tensor, inputs: Tensor) -> Kept:
    """Keep the gradient of a matrix from outputs (P, S, O, L) and inputs (P, S, I, L) in its smaller form.

    Samples and positions of a patient are one axis of S L: its gradient is the sum over both.
    """
    patients, samples, rows, positions = outputs.shape
    entries, all_positions = rows * inputs.shape[2], samples * positions
    if entries >= SMALLEST_PRODUCT and 2 * all_positions**2 < entries:
        return Product(outputs.transpose(1, 2).flatten(2), inputs.transpose(1, 2).flatten(2))
    gradients = torch.bmm(outputs[:, 0], inputs[:, 0].mT)
    for sample in range(1, samples):
        gradients.baddbmm_(outputs[:, sample], inputs[:, sample].mT)
    return Explicit(gradients.view(patients, -1))


def per_sample(gradients: Tensor, num_patients: int) -> Kept:
    """Keep gradients (P S, *shape) that a layer gave sample by sample: a patient's is their sum."""
    if gradients.shape[0] == num_patients:
        return Explicit(gradients)
    return Explicit(gradients.view(num_patients, -1, *gradients.shape[1:]).sum(1))


def joined(parts: Sequence[Explicit]) -> Explicit:
    """Return many small parameters' gradients as one of shape (P, total): fewer, larger operations."""
    return Explicit(torch.cat([part.values for part in parts], dim=1))


def _integers(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (P, ..., T) as integers of at most 2^13 in float64, and powers of two (P,): x is about their product.

    The power is nan where a value of the patient is not finite; the integers are then of no use.
    """
    largest = torch.linalg.vector_norm(x.flatten(1), math.inf, dim=1).double()
    exponents = torch.frexp(largest).exponent.long().clamp(-300, 300) - FACTOR_BITS
    integers = (x.double() * _power(-exponents)[:, None, None]).round_()
    return integers, _power(exponents).where(largest.isfinite(), math.nan)


def _power(exponents: Tensor) -> Tensor:
    """Return 2^exponents in float64, exactly: the bits of such a number are its exponent plus 1023, then 52 zeros."""
    return ((exponents + 1023) << 52).view(torch.float64)


def _without(excluded: Tensor | None, x: Tensor) -> Tensor:
    return x if excluded is None else x.masked_fill(excluded.view(-1, *[1] * (x.ndim - 1)), 0)
