"""Maps that hospitals released of their own patients: each beside all together, with intervals of both noises.

In: noised mean maps of one class, and the public reference map, whose patients tell how much patients differ. Out: for
each site its map and its difference from all sites, each with an interval of its own. Below the minimum a site is a
name and the words "too few to say", and no other figure holds its part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from server.dashboard.figures.maps import Addresses, Layout, map_svg
from server.dashboard.maps import bands
from server.dashboard.maps.cells import Cells
from server.dashboard.maps.film import Film
from server.dashboard.maps.sheets import SMALL_PX, Sheet, Square
from server.dashboard.views.explanations import map_words as words
from server.dashboard.views.explanations.map_figures import Drawn
from server.dashboard.views.explanations.mean_maps import MeanMap, find
from server.presentation.svg_charts import Figure

TILE, BESIDE = 184, 230
POOL: Final = "all sites"


@dataclass(frozen=True, eq=False)
class SiteMap:
    """One site, or all together; `own` and `against` (all sites) are None where nothing may be said."""

    name: str
    num_patients: int
    own: Cells | None
    against: Cells | None
    privacy_share: float | None  # of the variance of `own`
    note: str = ""


def site_maps(maps: Sequence[MeanMap]) -> list[SiteMap]:
    """Return all sites together first, then each site by name; empty where no site released a map."""
    released = sorted((one for one in maps if one.site_release), key=lambda one: one.source)
    told = _estimates(released, _spread(maps))
    weights = [one.num_patients for one, _ in told]
    estimates = [estimate for _, estimate in told]
    found = []
    if len(told) > 1:
        pool = bands.pooled(estimates, weights)
        found.append(SiteMap(POOL, sum(weights), pool.cells(), None, pool.privacy_share))
    places = {one.source: index for index, (one, _) in enumerate(told)}
    for one in released:
        index = places.get(one.source)
        if index is None:
            found.append(_silent(one))
            continue
        gap = bands.site_minus_pool(estimates, weights, index).cells(0.0) if len(told) > 1 else None
        own = estimates[index]
        found.append(SiteMap(one.source, one.num_patients, own.cells(), gap, own.privacy_share))
    return found


def site_figure(
    found: Sequence[SiteMap], maps: Sequence[MeanMap], film: Film | None, label: str, addresses: Addresses
) -> Drawn | None:
    """Draw a page of sites: each site's map, and where it surely differs from all sites."""
    if not found:
        return None
    squares, names, rows = [], [], []
    for one in found:
        alone = "" if one.name != POOL else "the pool itself"
        squares += [
            Square("overlay", one.own, one.note if one.own is None else ""),
            Square(
                "difference", one.against, one.note or alone or "no other site" if one.against is None else ""
            ),
        ]
        names.append("\n".join([one.name[:26], *_beside(one)]))
        rows.append((one.name, *_row(one)))
    shares = tuple(one.privacy_share for one in found)
    layout = Layout(("Site’s map", "Site minus all sites"), tuple(names), TILE, BESIDE, shares)
    title = f"Maps by hospital, {words.of_class(label)}"
    describe = (
        "Mean maps of hospitals' own patients, noised before they left. Each square's interval holds sampling and "
        "privacy noise together; the difference has an interval of its own. How much patients differ is taken from the "
        "public reference images. The bar beside a site splits its noise: darker few patients, lighter privacy."
    )
    said = f"share of energy, times uniform (1 is what an even map has) · {_noise(maps)}"
    sheet = Sheet(tuple(squares), 2, SMALL_PX)
    drawing = map_svg(title, describe, sheet, layout, film, said, addresses)
    head = ("site", "patients", "noise", "what is seen", "against all sites")
    return Drawn(Figure(title, describe, drawing, head, tuple(rows)), sheet)


def _spread(maps: Sequence[MeanMap]) -> bands.Spread | None:
    reference = find(maps, "student")
    if reference is None or reference.cells is None:
        return None
    return bands.spread_of(reference.cells, reference.num_patients)


def _estimates(
    released: Sequence[MeanMap], spread: bands.Spread | None
) -> list[tuple[MeanMap, bands.Estimate]]:
    """Return an estimate for each map that may be shown and on whose cells the spread of patients is known."""
    found = []
    for one in released:
        if one.cells is None or spread is None:
            continue
        own = bands.on_cells(spread, one.cells.values.shape)
        if own is not None:
            found.append((one, bands.single(one.cells.values, one.num_patients, one.noise_std, own)))
    return found


def _silent(one: MeanMap) -> SiteMap:
    """Say why a site has no picture: too few, no evidence, or nothing to judge its noise by."""
    if one.too_few:
        return SiteMap(one.source, 0, None, None, None, words.TOO_FEW)
    if one.cells is None:
        return SiteMap(one.source, one.num_patients, None, None, None, "no evidence")
    return SiteMap(one.source, one.num_patients, None, None, None, "spread of patients not known")


def _beside(one: SiteMap) -> list[str]:
    if one.note == words.TOO_FEW:
        return [f"under {bands.FEWEST_PATIENTS} patients", "or more noise than map"]
    if one.privacy_share is None:
        return [f"{one.num_patients} patients"]
    return [f"{one.num_patients} patients", _dominates(one.privacy_share)]


def _row(one: SiteMap) -> tuple[str, ...]:
    if one.own is None or one.privacy_share is None:
        patients = (
            f"under {bands.FEWEST_PATIENTS}, or too noisy"
            if one.note == words.TOO_FEW
            else f"{one.num_patients}"
        )
        return patients, "—", one.note, one.note
    seen = words.places(one.own)
    against = "—" if one.against is None else words.places(one.against)
    return f"{one.num_patients}", _dominates(one.privacy_share), seen, against


def _dominates(share: float) -> str:
    """Say which of the two noises is larger, and so what would shrink the interval."""
    part = f"{share:.0%}".replace("%", " %")
    return f"{part} of the noise is privacy’s" if share >= 0.5 else f"{part} privacy, more from few patients"


def _noise(maps: Sequence[MeanMap]) -> str:
    told = [one for one in maps if one.site_release and not one.too_few]
    spent = sorted({one.epsilon for one in told if one.epsilon is not None})
    if not told:
        return "no site may be shown"
    if not spent:
        return (
            "no noise added"
            if all(one.noise_std is None for one in told)
            else "noise added, epsilon not stated"
        )
    return f"noise added for epsilon {' to '.join(f'{one:.3g}' for one in dict.fromkeys((spent[0], spent[-1])))} a site"
