"""Per-patient gradients from one backward pass, and their clipped sum.

In: a model, the names of the parameters that train, and a function that gives per-sample losses. Out: the sum
of the patients' clipped gradients. The sum may leave the hospital only with noise inside; norms never do.

The trained layers run through `client/dp_sgd/layer_rules.py`: one backward pass keeps each patient's gradients
apart, then the clip weights are known and what was kept gives the sum (book-keeping, arXiv 2210.00038).
Two things no check here can see: a loss that mixes samples, and a frozen layer that does.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import torch
from torch import Tensor, nn

from client.dp_sgd.gradient_forms import Explicit, Kept, joined
from client.dp_sgd.layer_hooks import Tap, refuse_coupling, taps_of
from client.site.device import one_thread
from shared.errors import UnsupportedLayerError
from shared.privacy.grid import Grid

ROUNDING = (
    1e-6  # norms are taken as this much longer: far more than float64 can be off (docs/privacy-bounds.md)
)
SMALL_PARAMETER = 16_384  # numbers per patient


@dataclass(frozen=True)
class ClippedSum:
    """The sum of clipped gradients by parameter name, and each patient's norm before the clip.

    `norms` is (P,) float64, an upper bound within rounding, 0 for a patient that contributes nothing; it never leaves
    the site.
    """

    sums: dict[str, Tensor]
    norms: Tensor


class PatientGradients:
    """A model whose backward pass keeps patients apart; a context manager that restores what it found.

    Inside, exactly the parameters `names` require gradients, their layers' `forward` is replaced, and one thread
    computes. Raises
    UnsupportedLayerError for a trained parameter whose layer has no rule or that two layers share, and for any
    layer, trained or not, that couples samples.

        with PatientGradients(model, names) as gradients:
            clipped = gradients.clipped_sum(lambda: losses(model(x), y), num_patients=8, max_grad_norm=1.0)
    """

    def __init__(self, model: nn.Module, names: Sequence[str]) -> None:
        refuse_coupling(model)
        self._model = model
        self._taps = taps_of(model, set(names))
        parameters = dict(model.named_parameters())
        self._trained = {name: parameters[name] for name in sorted(set(names))}
        self._entered = False
        self._restore = ExitStack()

    def __enter__(self) -> Self:
        trained = {id(parameter) for parameter in self._trained.values()}
        with ExitStack() as restore:
            restore.enter_context(one_thread())
            for module in self._model.modules():
                restore.callback(setattr, module, "training", module.training)
            for parameter in self._model.parameters():
                restore.callback(parameter.requires_grad_, parameter.requires_grad)
                parameter.requires_grad_(id(parameter) in trained)
            for tap in self._taps:
                restore.callback(vars(tap.layer).pop, "forward")
                vars(tap.layer)["forward"] = tap.forward
            restore.callback(setattr, self, "_entered", False)
            self._entered = True
            self._restore = restore.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore.close()
        self._forget()

    def clipped_sum(
        self,
        losses: Callable[[], Tensor],
        num_patients: int,
        max_grad_norm: float,
        include: Tensor | None = None,
    ) -> ClippedSum:
        """Return sum_p min(1, C / |g_p|) g_p with g_p the gradient of the mean of patient p's S losses, float64.

        `losses()` runs the model and returns (P S,) or (P, S) losses, patient-major. `max_grad_norm` C may be
        inf: no clip and no grid. A patient left out by `include` (P,) bool, or whose loss or gradient is not finite,
        contributes exactly zero; the others are not touched by it. A parameter that the pass did not reach gets zeros.
        """
        if math.isinf(max_grad_norm):
            return self._sum(losses, num_patients, None, include)
        grid = Grid.of(0.0, max_grad_norm)
        clipped = self._sum(losses, num_patients, grid, include)
        sums = {name: total.double() * grid.unit for name, total in clipped.sums.items()}
        return ClippedSum(sums, clipped.norms)

    def clipped_units(
        self, losses: Callable[[], Tensor], num_patients: int, grid: Grid, include: Tensor | None = None
    ) -> ClippedSum:
        """Return the same in whole units of `grid`, int64: each patient's part is at most `grid.clip_units` long.

        That holds for any weights and any patient, and no patient's part depends on another's
        (`docs/privacy-bounds.md`).
        """
        return self._sum(losses, num_patients, grid, include)

    def _sum(
        self, losses: Callable[[], Tensor], num_patients: int, grid: Grid | None, include: Tensor | None
    ) -> ClippedSum:
        if not self._entered:
            raise RuntimeError(
                "clipped_sum outside the context, allowed is inside; use `with PatientGradients(...)`"
            )
        refuse_coupling(self._model)
        self._forget()
        try:
            with torch.enable_grad():
                values = losses()
            self._backward(values.flatten(), num_patients)
            with torch.no_grad():
                usable = values.view(num_patients, -1).isfinite().all(1)
                if include is not None:
                    usable &= include.to(usable.device)
                return self._weighted(usable, grid)
        finally:
            self._forget()

    @property
    def device(self) -> torch.device:
        """Where the trained parameters are."""
        return next(iter(self._trained.values())).device

    def zeros(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """Return the sum over no patients."""
        return {name: torch.zeros_like(value, dtype=dtype).detach() for name, value in self._trained.items()}

    def _backward(self, losses: Tensor, num_patients: int) -> None:
        samples = losses.shape[0]
        if samples == 0 or samples % num_patients:
            raise ValueError(f"losses has {samples} values, allowed is a multiple of {num_patients} patients")
        used = [tap for tap in self._taps if tap.batch is not None]
        for tap in used:
            if tap.batch != samples:
                raise UnsupportedLayerError(
                    f"{tap.prefix} got a batch of {tap.batch} for {samples} samples; a trained layer must see "
                    "each sample once"
                )
            tap.num_patients = num_patients
        if not losses.requires_grad:
            return
        anchors = [tap.anchor for tap in used]
        # each loss enters with 1/S: a patient's loss is the mean of its samples'
        seed = torch.full_like(losses, num_patients / samples)
        past_layers = torch.autograd.grad(
            losses, [*anchors, *self._trained.values()], grad_outputs=seed, allow_unused=True
        )[len(anchors) :]
        for name, stray in zip(self._trained, past_layers, strict=True):
            if stray is not None:
                raise UnsupportedLayerError(
                    f"{name} is used outside its own layer, where patients cannot be told apart; call the layer"
                )

    def _weighted(self, usable: Tensor, grid: Grid | None) -> ClippedSum:
        groups = _grouped(self._taps)
        self._forget()
        norms = _norms(groups, usable)
        usable = usable & norms.isfinite()
        norms = norms.where(usable, 0.0)
        excluded = None if bool(usable.all()) else ~usable
        weights = (
            None if grid is None else grid.clip_units / (norms * (1 + ROUNDING)).clamp_min(grid.max_grad_norm)
        )
        dtype = torch.float64 if grid is None else torch.int64
        sums: dict[str, Tensor] = {}
        while groups:  # what was kept is most of the memory here: let go as soon as it is summed
            kept, names = groups.pop()
            total = kept.plain_sum(excluded) if weights is None else kept.units(weights, excluded)
            for name, part in zip(
                names, torch.split(total, [self._trained[n].numel() for n in names]), strict=True
            ):
                sums[name] = part.to(dtype).view(self._trained[name].shape)
        for name in self._trained.keys() - sums.keys():  # the pass did not reach these
            sums[name] = torch.zeros_like(self._trained[name], dtype=dtype).detach()
        return ClippedSum({name: sums[name] for name in self._trained}, norms)

    def _forget(self) -> None:
        for tap in self._taps:
            tap.batch, tap.kept = None, {}


def _grouped(taps: Sequence[Tap]) -> list[tuple[Kept, list[str]]]:
    """Return all that was kept with the names it covers; small parameters share one."""
    groups: list[tuple[Kept, list[str]]] = []
    small: dict[str, Explicit] = {}
    for tap in taps:
        for name, kept in tap.kept.items():
            if isinstance(kept, Explicit) and kept.values[0].numel() <= SMALL_PARAMETER:
                small[name] = kept
            else:
                groups.append((kept, [name]))
    if small:
        groups.append((joined(list(small.values())), list(small)))
    return groups


def _norms(groups: Sequence[tuple[Kept, list[str]]], usable: Tensor) -> Tensor:
    """Return upper bounds of the patients' norms over all parameters, within 1e-8 of the very numbers that are kept."""
    squared = torch.zeros(usable.shape, dtype=torch.float64, device=usable.device)
    for kept, _ in groups:
        squared += kept.squared_norms()
    return squared.sqrt()
