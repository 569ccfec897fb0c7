"""The noise that leaves is Gaussian of the accounted size, fresh each time, and fine enough."""

from itertools import pairwise

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from client.dp_sgd.private_steps import private_steps
from shared.messages.releases import decode_release
from shared.privacy.noise import Coins, NoiseSource
from tests.privacy.audit_bounds import MISTAKE
from tests.privacy.room import Room, ask, weights_of
from tests.privacy.small import InMemory, plan
from tests.privacy.table import Check, Finding

SIGMA = 4.0  # a power of two, as the clip: the grid's unit is then one too
CLIP = 0.5


def nothing_but_noise(
    model: nn.Module, width: int, steps: int = 1, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    """Return what each step of a run over no patients added to the weights, one flat vector a step."""
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.zero_()
    source = InMemory([], lambda batch: model(batch["x"]).sum(1), {"x": torch.zeros(1, width, dtype=dtype)})
    seen = [flat(parameters)]
    private_steps(
        model, sorted(parameters), plan(steps=steps, noise_multiplier=SIGMA, max_grad_norm=CLIP), patient_ids=[],
        coins=Coins.fresh(), noise=NoiseSource(), source=source, progress=lambda _step: seen.append(flat(parameters)),
    )  # fmt: skip
    return [after - before for before, after in pairwise(seen)]


def flat(parameters: dict[str, Tensor]) -> Tensor:
    """Return all values as float64."""
    return torch.cat([parameters[name].detach().double().flatten() for name in sorted(parameters)])


def size(room: Room) -> Finding:
    """Take a step over nobody: what is left is the noise, of each parameter."""
    width = 200 if room.quick else 400
    model = nn.Sequential(nn.Linear(width, width), nn.GroupNorm(4, width), nn.Linear(width, 3))
    (noise,) = nothing_but_noise(model, width)
    std = SIGMA * CLIP
    sizes = [parameter.numel() for _, parameter in sorted(model.named_parameters())]
    chances = []
    for part in torch.split(noise, sizes):
        below = stats.chi2.cdf(float((part / std).square().sum()), part.numel())
        chances.append(2 * min(below, 1 - below))
    shape = float(stats.kstest(noise.numpy()[:50_000] / std, "norm").pvalue)
    least = min(chances) * len(chances)
    ratio = float(noise.std()) / std
    return Finding(
        f"standard deviation 1 of sigma x clip in every parameter, normal (p above {MISTAKE:g})",
        f"{ratio:.4f}; p {min(1.0, least):.2g} (size, the worst of {len(sizes)} parameters), {shape:.2g} (shape)",
        least > MISTAKE and shape > MISTAKE,
    )


def fresh(room: Room) -> Finding:
    """Correlate the noise of steps, of runs, and of a site's answers to two rounds and two studies."""
    width = 200
    model = nn.Linear(width, width)
    vectors = [*nothing_but_noise(model, width, steps=3), *nothing_but_noise(model, width, steps=2)]
    worst = largest_correlation(vectors) * np.sqrt(len(vectors[0]))
    study = room.study("supervised", privacy={"noise_multiplier": 100.0})
    with room.scratch() as scratch:
        site = room.site(scratch / "state", cap={"epsilon": 100.0, "delta": 1e-5})
        weights = weights_of(site, study, study.privacy.trainable)
        parts = [ask(site, study, "train", number, weights) for number in (1, 2)]
        parts.append(ask(site, study, "train", 1, weights, uid="b" * 32))
    shapes = {name: value.shape for name, value in weights.items()}
    updates = [updated(part, shapes) for part in parts]
    worst = max(worst, largest_correlation(updates) * np.sqrt(len(updates[0])))
    pairs = 10 + 3
    bound = float(stats.norm.isf(MISTAKE / 2 / pairs))
    return Finding(
        f"no correlation: at most {bound:.2f} of its own standard deviation in {pairs} pairs", f"{worst:.2f}",
        bool(worst <= bound),
    )  # fmt: skip


def updated(parts: dict[str, bytes], shapes: dict[str, tuple[int, ...]]) -> Tensor:
    """Return an answer's update as one flat vector."""
    arrays = decode_release(parts["update"], shapes, kinds=("update",)).arrays
    return torch.cat([torch.from_numpy(arrays[name].copy()).double().flatten() for name in sorted(arrays)])


def largest_correlation(vectors: list[Tensor]) -> float:
    """Return the largest correlation between two of the vectors."""
    table = np.abs(np.corrcoef(torch.stack(vectors).numpy()))
    return float((table - np.eye(len(vectors))).max())


def empty(room: Room) -> Finding:  # noqa: ARG001 - every check has this shape
    """Take many steps at a rate at which nobody is drawn most of the time: each must add noise."""
    model = nn.Linear(64, 1, bias=False)
    vectors = nothing_but_noise(model, 64, steps=50)
    silent = sum(not bool(vector.any()) for vector in vectors)
    ratio = float(torch.cat(vectors).std()) / (SIGMA * CLIP)
    return Finding(
        "noise in each step, standard deviation 0.95 to 1.05 of the claim",
        f"{silent} of {len(vectors)} steps without noise, standard deviation {ratio:.3f}",
        silent == 0 and 0.95 <= ratio <= 1.05,
    )


def resolution(room: Room) -> Finding:
    """Look at the last bits of a noisy sum (weights in float64): a float's own grid grows with the value and has holes.

    On one public grid half of all values are odd multiples of the grid, whatever their size.
    """
    width = 150 if room.quick else 300
    model = nn.Linear(width, width, bias=False).double()
    (noise,) = nothing_but_noise(model, width, dtype=torch.float64)
    values = noise.abs().numpy()
    order = np.argsort(values)
    mantissa, exponent = np.frexp(values[values > 0])
    whole = (mantissa * 2.0**53).astype(np.int64)
    lowest = exponent - 53 + np.log2((whole & -whole).astype(np.float64)).astype(int)
    grid = 2.0 ** int(lowest.min())
    multiples = values[order] / grid
    parts = np.array_split(multiples, 8)
    odd = [float(np.mean(part % 2 == 1)) for part in parts]
    spread = 0.5 / np.sqrt(len(parts[0]))
    worst = max(abs(share - 0.5) for share in odd) / spread
    bound = float(stats.norm.isf(MISTAKE / 2 / len(parts)))
    coarse = float(np.mean(values == values.astype(np.float32)))
    return Finding(
        "one public grid: half of the values odd multiples of it, small and large ones alike "
        f"(within {bound:.2f} standard deviations)",
        f"grid 2^{int(lowest.min())}, odd shares {min(odd):.3f} to {max(odd):.3f}; {coarse:.3f} of the values fit "
        "float32",
        bool(worst <= bound),
    )


CHECKS = (
    Check("noise, size", "each step adds Gaussian noise of sigma x clip to every number",
          "take a step over nobody and measure what is left", size),
    Check("noise, empty batch", "an empty batch adds noise like any other", "50 steps over nobody", empty),
    Check("noise, fresh", "no noise is used twice", "correlate steps, runs, rounds and studies", fresh),
    Check("noise, resolution", "the noise has no holes that would tell the sum",
          "look at the last bits of a noisy sum in float64", resolution),
)  # fmt: skip
