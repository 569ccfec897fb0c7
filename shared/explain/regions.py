"""How much of a map lies where it should: energy over area, with random and centre maps as floor.

In: maps (H, W) at least 0 and region masks (H, W). Out: single numbers, None where nothing can be measured.
Numbers about a hospital's own images leave only as noised sums.
"""

import hashlib
from typing import Literal

import torch
from scipy.stats import pearsonr, spearmanr
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention

Grid = tuple[int, int]
BORDER_WIDTH = 0.08  # of each side: film edges and burnt-in text
CORNER_WIDTH = 0.2  # of each side: where laterality markers sit


def energy_over_area(found: Tensor, region: Tensor | None) -> float | None:
    """Share of the map's energy inside the region over the region's share of the image.

    1 is what a uniform map gives; `found` (H, W) at least 0, `region` (H, W) bool. None when there is no
    region, an empty region or no evidence: a lesion-free image says nothing about where lesions are sought.
    """
    if region is None:
        return None
    if found.shape != region.shape:
        raise ValueError(
            f"region has shape {tuple(region.shape)}, allowed is the map's, {tuple(found.shape)}"
        )
    total, area = found.double().sum(), region.double().mean()
    if not total > 0 or not area > 0:
        return None
    return float(found.double()[region].sum() / total / area)


def border_ring(size: Grid, width: float = BORDER_WIDTH) -> Tensor:
    """Outer ring (H, W) bool, `width` of each side wide, at least one pixel: film edges and burnt-in text."""
    ring = torch.ones(size, dtype=torch.bool)
    rows, columns = (max(1, round(width * side)) for side in size)
    ring[rows:-rows, columns:-columns] = False
    return ring


def corners(size: Grid, width: float = CORNER_WIDTH) -> Tensor:
    """Four corner boxes (H, W) bool, `width` of each side wide: where laterality markers sit."""
    height, length = (max(1, round(width * side)) for side in size)
    boxes = torch.zeros(size, dtype=torch.bool)
    for rows in (slice(None, height), slice(-height, None)):
        for columns in (slice(None, length), slice(-length, None)):
            boxes[rows, columns] = True
    return boxes


def random_map(grid: Grid, size: Grid, generator: torch.Generator) -> Tensor:
    """Smooth random map (H, W): positive parts of normal draws on `grid` cells, bilinear to full size."""
    cells = torch.randn(grid, generator=generator).relu()
    # one cell is always lit: a map without evidence has no lift
    cells.view(-1)[int(torch.randint(cells.numel(), (1,), generator=generator))] += 1
    return F.interpolate(cells[None, None], size, mode="bilinear")[0, 0]


def random_lift(region: Tensor | None, grid: Grid, key: str, num_draws: int = 64) -> float | None:
    """Mean energy over area of random maps as coarse as the real one; the same `key` gives the same draws."""
    if region is None or not bool(region.any()):
        return None
    generator = seeded(key)
    size = (region.shape[0], region.shape[1])
    lifts = [energy_over_area(random_map(grid, size, generator), region) for _ in range(num_draws)]
    return sum(lift for lift in lifts if lift is not None) / num_draws


def seeded(key: str) -> torch.Generator:
    """Return a generator whose stream is fixed by a text, such as an image's digest."""
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


def centre_map(size: Grid) -> Tensor:
    """Gaussian bump (H, W) in the middle, standard deviation a quarter of each side."""
    rows, columns = (torch.exp(-8 * torch.linspace(-1, 1, side).div(2).square()) for side in size)
    return rows[:, None] * columns


def agreement(
    first: Tensor, second: Tensor, grid: Grid, kind: Literal["spearman", "pearson"] = "spearman"
) -> float | None:
    """Correlation of two maps (H, W) averaged over `grid` cells; None when either is flat or not finite."""
    coarse = [
        F.adaptive_avg_pool2d(one[None, None].double(), grid).flatten().numpy() for one in (first, second)
    ]
    # written so that a comparison with NaN gives None as well
    if not all(values.max() - values.min() > 1e-9 * abs(values).max() for values in coarse):
        return None
    correlate = spearmanr if kind == "spearman" else pearsonr
    return float(correlate(*coarse).statistic)
