"""The explanations page: where the student looks, for one class, beside what it should be held against.

In: the store and what was asked for. Out: the parts of the page, each made alone, so that htmx can ask for one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa
from pydantic import Field

from server.dashboard.figures.maps import Addresses
from server.dashboard.maps.film import Film, film_for
from server.dashboard.maps.sheets import Sheet
from server.dashboard.views import audit_figures as audited
from server.dashboard.views.map_figures import Drawn, after_round, by_source, differences, panels
from server.dashboard.views.mean_maps import MeanMap, final_maps, find, round_maps
from server.dashboard.views.site_maps import SiteMap, site_figure, site_maps
from server.figures import Figure
from server.store.records import EVERY
from shared.config import Frozen

SOURCES_A_PART, SITES_A_PART = 6, 8
Row = TypeVar("Row")


class Asked(Frozen):
    """What the page's address names; it decides every picture of the page, so that each can be made again from it."""

    label: str = Field(EVERY, max_length=100)
    round: int | None = Field(None, ge=0, le=1_000_000)
    sources: int = Field(1, ge=1, le=10_000)
    sites: int = Field(1, ge=1, le=10_000)

    def query(self, **other: object) -> str:
        """Write it as an address does, with some of it replaced."""
        said = self.model_dump() | other
        usual = {"round": None, "sources": 1, "sites": 1}
        return urlencode({name: value for name, value in said.items() if value != usual.get(name)})


@dataclass(frozen=True)
class Part(Generic[Row]):
    """Some of many rows: part `number` of `last`."""

    rows: tuple[Row, ...]
    number: int
    last: int
    total: int


@dataclass(frozen=True)
class MapsPart:
    """Pictures of the final student's maps of one class."""

    panels: Drawn | None
    by_source: Drawn | None
    differences: Drawn | None
    sources: Part[str]
    sites: Drawn | None
    site_part: Part[SiteMap]

    @property
    def sheets(self) -> list[Sheet]:
        """The pictures that this part shows."""
        drawn = (self.panels, self.by_source, self.differences, self.sites)
        return [one.sheet for one in drawn if one is not None]


@dataclass(frozen=True)
class RoundsPart:
    """The student's map after one round, and the rounds that there are."""

    rounds: tuple[int, ...]
    chosen: int | None
    before: int | None
    after: int | None
    drawn: Drawn | None

    @property
    def sheets(self) -> list[Sheet]:
        """The pictures that this part shows."""
        return [] if self.drawn is None else [self.drawn.sheet]


@dataclass(frozen=True)
class FiguresPart:
    """The finding in words, and the bars that it comes from."""

    finding: str
    beside: str
    regions: Figure | None
    faithfulness: Figure | None
    agreement: Figure | None
    drift: tuple[audited.DriftRow, ...]


def reference_film(known: Sequence[Film]) -> Film | None:
    """Return the film that figures speak of: that of all sources, the first of those known."""
    return known[0] if known else None


def labels_of(config: dict[str, Any]) -> tuple[str, ...]:
    """Return what can be chosen: all classes together, then each."""
    return (EVERY, *config["task"]["classes"])


def first_label(config: dict[str, Any]) -> str:
    """Return the class that is shown unasked: the one that the study is about."""
    return str(config["task"].get("positive") or EVERY)


def maps_part(
    connection: sa.Connection, uid: str, asked: Asked, sources: Sequence[str], known: Sequence[Film],
    addresses: Addresses,
) -> MapsPart:  # fmt: skip
    """Return the final student's maps of one class, over some of its sources; one statement."""
    label = asked.label
    first, others = [one for one in sources if one == EVERY], [one for one in sources if one != EVERY]
    part = _part(others, SOURCES_A_PART, asked.sources)
    shown = [*first, *part.rows]
    maps = final_maps(connection, uid, label, shown)
    public, released = (tuple(one for one in maps if one.site_release is kind) for kind in (False, True))
    film, sites_film = _film_of(public, known), _film_of(released, known)
    sites = _part(site_maps(maps), SITES_A_PART, asked.sites)
    return MapsPart(
        panels=panels(find(public, "student"), film, label, addresses),
        by_source=by_source(public, shown, film, label, addresses) if shown else None,
        differences=differences(public, shown, film, label, addresses) if shown else None,
        sources=part,
        sites=site_figure(sites.rows, maps, sites_film, label, addresses),
        site_part=sites,
    )


def rounds_part(
    connection: sa.Connection, uid: str, asked: Asked, rounds: Sequence[int], known: Sequence[Film],
    addresses: Addresses,
) -> RoundsPart:  # fmt: skip
    """Return the student's map after the measured round at or before the one asked for; one statement."""
    if not rounds:
        return RoundsPart((), None, None, None, None)
    wanted = rounds[-1] if asked.round is None else asked.round
    index = max(0, bisect_right(rounds, wanted) - 1)
    chosen, before = rounds[index], rounds[index - 1] if index else None
    maps = round_maps(connection, uid, asked.label, [one for one in (before, chosen) if one is not None])
    at = {(one.round, one.subject): one for one in maps}
    now = at[chosen, "student"]
    film = film_for(known, now.frame)
    drawn = after_round(now, at.get((before, "student")), at.get((chosen, "student-before")), film, addresses)
    after = rounds[index + 1] if index + 1 < len(rounds) else None
    return RoundsPart(tuple(rounds), chosen, before, after, drawn)


def figures_part(connection: sa.Connection, uid: str, label: str, film: Film | None) -> FiguresPart:
    """Return the audit's figures of one class; one statement."""
    found, drift = audited.audit_figures(connection, uid, label)
    return FiguresPart(
        finding=audited.finding(found, film, label),
        beside=audited.beside(found) if found else "",
        regions=audited.region_bars(found, film, label),
        faithfulness=audited.faithfulness_bars(found, label),
        agreement=audited.agreement_bars(found, label),
        drift=tuple(drift),
    )


def _film_of(maps: Sequence[MeanMap], known: Sequence[Film]) -> Film | None:
    """Return the film that maps of one frame lie over."""
    return film_for(known, maps[0].frame) if maps else None


def _part(rows: Sequence[Row], size: int, number: int) -> Part[Row]:
    """Return one part of many rows, the last one where there is no such part."""
    last = max(1, -(-len(rows) // size))
    number = min(number, last)
    return Part(tuple(rows[(number - 1) * size : number * size]), number, last, len(rows))
