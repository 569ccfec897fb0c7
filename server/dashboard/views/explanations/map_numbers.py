"""Every cell of one class's maps as lines of numbers, for a file. A site below the minimum has a line and no number."""

from collections.abc import Iterator, Sequence
from typing import Final

from server.dashboard.maps.cells import Cells
from server.dashboard.views.explanations.map_words import NO_EVIDENCE, TOO_FEW
from server.dashboard.views.explanations.mean_maps import MeanMap
from server.dashboard.views.explanations.site_maps import POOL, SiteMap, site_maps

HEAD: Final = (
    "map", "class", "source", "round", "site_release", "images", "patients", "noise_std", "epsilon", "row", "column",
    "value", "low", "high", "can_be_told_from_noise", "remark",
)  # fmt: skip
Line = tuple[object, ...]


def map_numbers(maps: Sequence[MeanMap]) -> Iterator[Line]:
    """Yield one line a cell, after `HEAD`; intervals are 95 percent, corrected for the number of cells."""
    for one in maps:
        if not one.site_release:
            about = (
                one.subject,
                one.label,
                one.source,
                one.round,
                False,
                one.num_images,
                one.num_patients,
                None,
                None,
            )
            yield from _lines(about, one.cells, NO_EVIDENCE)
    released = {one.source: one for one in maps if one.site_release}
    for site in site_maps(maps):
        yield from _site_lines(site, released.get(site.name), next(iter(released.values())).label)


def _site_lines(site: SiteMap, one: MeanMap | None, label: str) -> Iterator[Line]:
    if site.note == TOO_FEW or (one is None and site.name != POOL):
        yield from _lines((site.name, label, site.name, None, True, None, None, None, None), None, TOO_FEW)
        return
    noise, epsilon = (None, None) if one is None else (one.noise_std, one.epsilon)
    about = (label, site.name, None, True, None, site.num_patients, noise, epsilon)
    yield from _lines(("site", *about), site.own, site.note)
    if site.against is not None:
        yield from _lines(("site minus all sites", *about), site.against, "")


def _lines(about: Line, cells: Cells | None, why: str) -> Iterator[Line]:
    if cells is None:
        yield (*about, None, None, None, None, None, None, why)
        return
    sure, (rows, columns) = cells.stands_out, cells.values.shape
    for row in range(rows):
        for column in range(columns):
            low, high = (
                None if edge is None else round(float(edge[row, column]), 5)
                for edge in (cells.low, cells.high)
            )
            told = bool(sure[row, column]) if cells.has_intervals else None
            yield (
                *about,
                row + 1,
                column + 1,
                round(float(cells.values[row, column]), 5),
                low,
                high,
                told,
                "",
            )
