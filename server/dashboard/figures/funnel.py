"""Comparing sites honestly: each one's share over its number of patients, inside limits that chance alone gives.

A funnel plot (Spiegelhalter 2005, doi 10.1002/sim.1970): limits around the pooled share, exact binomial, so that a
small site is not blamed for being small. Never a ranked list. Below `FEWEST` patients nothing is drawn of a site.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup
from scipy.special import bdtr

from server.presentation.svg_charts import Figure, label, svg, tag

FEWEST: Final = 10
TOO_FEW: Final = "too few to say"
_TAILS: Final = (("95 %", 0.025, "ref"), ("99.8 %", 0.001, "ref wide"))
_LEFT, _RIGHT, _TOP, _BOTTOM, _WIDTH, _HEIGHT = 52, 150, 14, 40, 760, 320
_CURVE_POINTS = 60
_DOT, _LETTER = 5, 8  # pixels: a dot's radius, and the width of a letter at most


@dataclass(frozen=True)
class Share:
    """One site of origin: a share of right answers among `n` patients."""

    name: str
    share: float
    n: int


def binomial_limit(share: float, n: int, tail: float) -> float:
    """Share that a Binomial(n, share) stays below with probability `tail`, interpolated between whole numbers.

    The interpolation of Spiegelhalter 2005, appendix A.1.1: r - alpha, alpha = (P(X <= r) - tail) / P(X = r).
    """
    if share <= 0 or share >= 1:
        return share
    below = bdtr(np.arange(n + 1), n, share)
    r = int(np.searchsorted(below, tail, side="right"))
    if r > n:
        return 1.0
    mass = below[r] - (below[r - 1] if r else 0.0)
    return max(0.0, float(r - (below[r] - tail) / mass)) / n


def limits(share: float, n: int, tail: float) -> tuple[float, float]:
    """Lower and upper limit of a share among n patients by chance alone."""
    return binomial_limit(share, n, tail), 1 - binomial_limit(1 - share, n, tail)


def verdict(one: Share, pooled: float) -> str:
    """Say where a site lies; never better or worse than another."""
    if one.n < FEWEST:
        return TOO_FEW
    for name, tail, _ in reversed(_TAILS):
        low, high = limits(pooled, one.n, tail)
        if not low <= one.share <= high:
            return f"{'below' if one.share < low else 'above'} the {name} limits of chance"
    return "within what chance gives"


def funnel_figure(title: str, quantity: str, shares: Sequence[Share]) -> Figure | None:
    """Draw the sites with enough patients; others stand in the table by name only. None without any."""
    known = [one for one in shares if one.n >= FEWEST]
    if not known:
        return None
    pooled = sum(one.share * one.n for one in known) / sum(one.n for one in known)
    most = max(one.n for one in known) * 1.1
    fewest = min(one.n for one in known)  # the curves of smaller sites are cut off below
    lowest = limits(pooled, fewest, 0.001)[0]
    bottom = math.floor(min(0.9, lowest, *(one.share for one in known)) * 20) / 20

    def px(n: float) -> float:
        return _LEFT + n / most * (_WIDTH - _LEFT - _RIGHT)

    def py(share: float) -> float:
        return _HEIGHT - _BOTTOM - (share - bottom) / (1 - bottom) * (_HEIGHT - _TOP - _BOTTOM)

    parts = [
        _axes(px, py, most, bottom, quantity),
        tag("line", "axis", x1=px(0), x2=px(most), y1=py(pooled), y2=py(pooled)),
    ]
    ends = [(py(pooled), f"all {pooled:.2f}")]
    grid = sorted({round(FEWEST * (most / FEWEST) ** (k / _CURVE_POINTS)) for k in range(_CURVE_POINTS + 1)})
    for name, tail, kind in _TAILS:
        edges = [(n, *limits(pooled, n, tail)) for n in grid]
        for side in (1, 2):
            shown = [edge for edge in edges if edge[side] >= bottom]
            path = "M" + "L".join(f"{px(edge[0]):.1f},{py(edge[side]):.1f}" for edge in shown)
            parts.append(Markup('<path class="{} open" d="{}"/>').format(kind, path))
            ends.append((py(edges[-1][side]), f"{name} limit"))
    parts += [tag("circle", "dot", cx=px(one.n), cy=py(one.share), r=_DOT) for one in known]
    parts += _names([(px(one.n), py(one.share), one.name[:18]) for one in known])
    parts += [label(text, _WIDTH - _RIGHT + 8, y + 4, "tick") for y, text in _apart(ends)]
    describe = (
        f"{quantity[:1].upper()}{quantity[1:]} of each site over its number of patients. The line is all sites "
        "together; the curves are the limits that 95 and 99.8 of 100 equal sites stay within by chance alone. Sites "
        "are not ranked."
    )
    table = tuple(_row(one, pooled) for one in sorted(shares, key=lambda each: each.name))
    drawing = svg(title, describe, _WIDTH, _HEIGHT, Markup("").join(parts))
    return Figure(title, describe, drawing, ("site", "patients", quantity, "95 % limits", "in words"), table)


def _row(one: Share, pooled: float) -> tuple[str, ...]:
    if one.n < FEWEST:
        return one.name, f"under {FEWEST}", TOO_FEW, "—", TOO_FEW
    low, high = limits(pooled, one.n, 0.025)
    return one.name, str(one.n), f"{one.share:.3f}", f"{low:.3f} to {high:.3f}", verdict(one, pooled)


def _axes(
    px: Callable[[float], float], py: Callable[[float], float], most: float, bottom: float, quantity: str
) -> Markup:
    gap = 0.05 if bottom > 0.69 else 0.1
    levels = [1 - k * gap for k in range(int((1 - bottom) / gap + 1.01))]
    parts = []
    for level in levels:
        parts += [
            tag("line", "grid", x1=px(0), x2=px(most), y1=py(level), y2=py(level)),
            label(f"{level:.2f}", _LEFT - 8, py(level) + 4, "tick end"),
        ]
    step = max(10, round(most / 5, -1) if most >= 50 else 10)
    parts += [label(f"{n:.0f}", px(n), _HEIGHT - _BOTTOM + 18, "tick middle") for n in _steps(step, most)]
    parts += [
        label("patients", (px(0) + px(most)) / 2, _HEIGHT - 4, "axis-name middle"),
        label(quantity, _LEFT, 9, "axis-name"),
    ]
    return Markup("").join(parts)


def _names(dots: Sequence[tuple[float, float, str]]) -> list[Markup]:
    """Write names beside their dots, in the first corner that no dot and no other name takes; else the table has it."""
    taken = [(x - _DOT, y - _DOT, x + _DOT, y + _DOT) for x, y, _ in dots]
    written = []
    for x, y, name in dots:
        wide = len(name) * _LETTER
        for left, base in ((x + 8, y - 6), (x - 8 - wide, y - 6), (x + 8, y + 15), (x - 8 - wide, y + 15)):
            box = (left, base - 11, left + wide, base + 3)
            free = all(box[2] < o[0] or box[0] > o[2] or box[3] < o[1] or box[1] > o[3] for o in taken)
            if free and left > _LEFT and left + wide < _WIDTH - _RIGHT:
                taken.append(box)
                at, kind = (left, "name small") if left > x else (left + wide, "name small end")
                written.append(label(name, at, base, kind))
                break
    return written


def _steps(step: float, most: float) -> list[float]:
    return [k * step for k in range(int(most // step) + 1)]


def _apart(ends: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    placed: list[tuple[float, str]] = []
    for y, text in sorted(ends):
        placed.append((max(y, placed[-1][0] + 14) if placed else y, text))
    return placed
