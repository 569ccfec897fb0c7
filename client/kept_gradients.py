"""What is kept of the patients' gradients of one parameter until their weights are known.

In: per-patient gradients, or the two factors of a matrix gradient. Out: their norms, and their weighted sum.
Everything here is a patient's and stays at the site; only a clipped, noised sum may leave.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

LARGEST_SQUARE = 1e12  # of a factor: beyond it, products of squares may leave float32 unseen
BLOCK = 512  # numbers summed in float32 before float64 takes over: longer sums lose up to 2e-5


class Kept(Protocol):
    """One parameter's gradient of each of P patients, in whatever form takes the least room."""

    def squared_norms(self) -> Tensor:
        """Return the squared L2 norms (P,) float64; not finite where float32 could not tell."""

    def rescale(self) -> None:
        """Divide each patient's values by a power of two near their largest, and remember it.

        Then `squared_norms` is finite for every finite gradient. Powers of two are exact: no other patient's
        result changes.
        """

    def weighted_sum(self, weights: Tensor, excluded: Tensor | None) -> Tensor:
        """Return sum_p weights[p] * gradient_p, shaped like the parameter; weights (P,) float64.

        `excluded` (P,) marks patients left out whatever their gradient holds (0 * nan would be nan); None
        when there are none.
        """


class Explicit:
    """The gradients themselves, (P, *parameter shape)."""

    def __init__(self, gradients: Tensor) -> None:
        self.values = gradients
        self._scale: Tensor | None = None

    def squared_norms(self) -> Tensor:
        """Return the squared L2 norms, (P,) float64."""
        rows = self.values.flatten(1)
        whole = rows.shape[1] - rows.shape[1] % BLOCK
        blocks = torch.linalg.vector_norm(rows[:, :whole].reshape(rows.shape[0], -1, BLOCK), dim=2)
        rest = torch.linalg.vector_norm(rows[:, whole:], dim=1)
        squares: Tensor = blocks.double().square().sum(1) + rest.double().square()
        return squares if self._scale is None else squares * self._scale.square()

    def rescale(self) -> None:
        """Scale by powers of two."""
        self.values, self._scale = _scaled(self.values)

    def weighted_sum(self, weights: Tensor, excluded: Tensor | None) -> Tensor:
        """Return the weighted sum over patients."""
        values = _without(excluded, self.values)
        factors = _factors(weights, self._scale, excluded).to(values.dtype)
        return (factors @ values.flatten(1)).view(values.shape[1:])


class Product:
    """A matrix gradient as its two factors, outputs (P, O, T) times inputs (P, I, T): never multiplied out.

    |sum_t o_t i_t'|^2 = sum_{t,u} (o_t . o_u)(i_t . i_u) (arXiv 2009.03106, 2205.10683); takes less time and
    room than the P matrices where 2 T^2 < O I.
    """

    def __init__(self, outputs: Tensor, inputs: Tensor, shape: torch.Size) -> None:
        self._outputs, self._inputs, self._shape = outputs, inputs, shape
        self._scale: Tensor | None = None

    def squared_norms(self) -> Tensor:
        """Return the squared L2 norms, (P,) float64."""
        outputs = torch.bmm(self._outputs.mT, self._outputs)
        inputs = torch.bmm(self._inputs.mT, self._inputs)
        squares = (outputs.double() * inputs).sum((1, 2)).clamp_min(0)
        if self._scale is not None:
            return squares * self._scale.square()
        # a vanished square of one factor matters only beside a large other one
        largest = torch.maximum(outputs.amax((1, 2)), inputs.amax((1, 2)))
        return squares.where(largest < LARGEST_SQUARE, math.inf)

    def rescale(self) -> None:
        """Scale both factors by powers of two."""
        self._outputs, output_scale = _scaled(self._outputs)
        self._inputs, input_scale = _scaled(self._inputs)
        self._scale = output_scale * input_scale

    def weighted_sum(self, weights: Tensor, excluded: Tensor | None) -> Tensor:
        """Return the weighted sum over patients, as one matrix product over patients and positions."""
        outputs, inputs = _without(excluded, self._outputs), _without(excluded, self._inputs)
        weighted = outputs * _factors(weights, self._scale, excluded).to(outputs.dtype)[:, None, None]
        left = weighted.transpose(0, 1).flatten(1)
        right = inputs.transpose(0, 1).flatten(1)
        return (left @ right.T).view(self._shape)


def matrix(outputs: Tensor, inputs: Tensor, shape: torch.Size) -> Kept:
    """Keep the gradient of a matrix from outputs (P, S, O, L) and inputs (P, S, I, L) in its smaller form.

    Samples and positions of a patient are one axis of S L: its gradient is the sum over both.
    """
    patients, samples, rows, positions = outputs.shape
    if 2 * (samples * positions) ** 2 < rows * inputs.shape[2]:
        return Product(outputs.transpose(1, 2).flatten(2), inputs.transpose(1, 2).flatten(2), shape)
    gradients = torch.bmm(outputs[:, 0], inputs[:, 0].mT)
    for sample in range(1, samples):
        gradients.baddbmm_(outputs[:, sample], inputs[:, sample].mT)
    return Explicit(gradients.view(patients, *shape))


def per_sample(gradients: Tensor, num_patients: int) -> Kept:
    """Keep gradients (P S, *shape) that a layer gave sample by sample: a patient's is their sum."""
    if gradients.shape[0] == num_patients:
        return Explicit(gradients)
    return Explicit(gradients.view(num_patients, -1, *gradients.shape[1:]).sum(1))


def joined(parts: Sequence[Explicit]) -> Explicit:
    """Return many small parameters' gradients as one of shape (P, total): fewer, larger operations."""
    return Explicit(torch.cat([part.values.flatten(1) for part in parts], dim=1))


def _scaled(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (P, ...) divided by each patient's power of two, and these, (P,) float64."""
    largest = torch.linalg.vector_norm(x.flatten(1), math.inf, dim=1)
    exponents = torch.frexp(largest).exponent.clamp(-120, 120)  # 2^120 is a normal number in float32
    exponents = exponents.where(largest.isfinite(), 0)
    scale = torch.ldexp(torch.ones_like(largest, dtype=torch.float64), exponents)
    return x / scale.to(x.dtype).view(-1, *[1] * (x.ndim - 1)), scale


def _factors(weights: Tensor, scale: Tensor | None, excluded: Tensor | None) -> Tensor:
    factors = weights if scale is None else weights * scale
    return factors if excluded is None else factors.masked_fill(excluded, 0)


def _without(excluded: Tensor | None, x: Tensor) -> Tensor:
    return x if excluded is None else x.masked_fill(excluded.view(-1, *[1] * (x.ndim - 1)), 0)
