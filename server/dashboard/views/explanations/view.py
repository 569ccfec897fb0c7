"""The explanations page: where the student looks, for one class, beside what it should be held against.

In: the store and what was asked for. Out: the parts of the page, each made alone, so that htmx can ask for one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import urlencode

import sqlalchemy as sa
from pydantic import Field

from server.dashboard.figures.maps import Addresses
from server.dashboard.maps.film import Film, film_for
from server.dashboard.maps.sheets import Sheet
from server.dashboard.rendering.paging import Paged
from server.dashboard.views.explanations import audit_figures as audited
from server.dashboard.views.explanations.map_figures import (
    Drawn,
    Ground,
    after_round,
    by_source,
    differences,
    panels,
)
from server.dashboard.views.explanations.mean_maps import MeanMap, films, find, inventory, page_maps
from server.dashboard.views.explanations.reference_images import Example, Wanted, reference_images
from server.dashboard.views.explanations.site_maps import SiteMap, site_figure, site_maps
from server.dashboard.views.head import Head
from server.presentation.svg_charts import Figure
from server.store.record_kinds import EVERY
from shared.config.study import StudyConfig
from shared.config.values import Frozen

MAP_PARTS: Final = frozenset({"maps", "rounds"})
ALL_PARTS: Final = MAP_PARTS | {"figures", "images"}
SOURCES_A_PART, SITES_A_PART = 6, 8
Row = TypeVar("Row")


class Asked(Frozen, extra="ignore"):
    """What the page's address names; it decides every picture of the page, so that each can be made again from it."""

    label: str = Field("", max_length=100)
    round: int | None = Field(None, ge=0, le=1_000_000)
    sources: int = Field(1, ge=1, le=10_000)
    sites: int = Field(1, ge=1, le=10_000)
    under: bool = Field(False, description="colours stay under the hatching")
    true_class: str = Field("", max_length=100)
    source: str = Field("", max_length=100)
    outcome: Literal["", "wrong", "right", "bare"] = ""
    page: int = Field(1, ge=1, le=1_000_000)

    @property
    def wanted(self) -> Wanted:
        """Which reference images."""
        return Wanted(self.true_class, self.source, self.outcome)

    def query(self, **other: object) -> str:
        """Write what decides the pictures of maps as an address does, with some of it replaced."""
        said = {name: getattr(self, name) for name in ("label", "round", "sources", "sites", "under")} | other
        usual = {"round": None, "sources": 1, "sites": 1, "under": False}
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


@dataclass(frozen=True)
class RoundsPart:
    """The student's map after one round, and the rounds that there are."""

    rounds: tuple[int, ...]
    chosen: int | None = None
    before: int | None = None
    after: int | None = None
    drawn: Drawn | None = None


@dataclass(frozen=True)
class FiguresPart:
    """The finding in words, and the bars that it comes from."""

    finding: str
    beside: str
    regions: Figure | None
    faithfulness: Figure | None
    agreement: Figure | None
    drift: tuple[audited.DriftRow, ...]


@dataclass(frozen=True)
class ExplanationsView:
    """What the page prints; a part that was not asked for is None."""

    labels: tuple[str, ...]
    film: Film | None
    image_sources: tuple[str, ...]
    maps: MapsPart | None = None
    rounds: RoundsPart | None = None
    figures: FiguresPart | None = None
    images: Paged[Example] | None = None

    @property
    def sheets(self) -> list[Sheet]:
        """Every picture of maps on the page."""
        drawn = [self.rounds.drawn] if self.rounds else []
        if self.maps:
            drawn += [self.maps.panels, self.maps.by_source, self.maps.differences, self.maps.sites]
        return [one.sheet for one in drawn if one is not None]


def labels_of(config: StudyConfig) -> tuple[str, ...]:
    """Return what can be chosen: all classes together, then each."""
    return (EVERY, *config.task.classes)


def first_label(config: StudyConfig) -> str:
    """Return the class that is shown unasked: the one that the study is about."""
    return config.task.positive or EVERY


def explanations_view(
    connection: sa.Connection,
    head: Head,
    asked: Asked,
    addresses: Addresses,
    parts: frozenset[str] = ALL_PARTS,
) -> ExplanationsView:
    """Read the parts that are wanted, in five statements at most."""
    known = films(connection, head.uid)
    film = known[0] if known else None
    view = ExplanationsView(
        labels=labels_of(head.config),
        film=film,
        image_sources=tuple(sorted({one.source for one in known} - {EVERY})),
    )
    if parts & MAP_PARTS:
        view = replace(view, **_maps_and_rounds(connection, head.uid, asked, known, addresses))
    if "figures" in parts:
        view = replace(view, figures=_figures_part(connection, head.uid, asked.label, film))
    if "images" in parts:
        path = f"/studies/{head.uid}/explanations"
        found = reference_images(connection, head.uid, asked.wanted, asked.page, film, path, asked.label)
        view = replace(view, images=found)
    return view


def _maps_and_rounds(
    connection: sa.Connection, uid: str, asked: Asked, known: Sequence[Film], addresses: Addresses
) -> dict[str, Any]:
    rounds, sources = inventory(connection, uid, asked.label)
    others = _part([one for one in sources if one != EVERY], SOURCES_A_PART, asked.sources)
    shown = [*(one for one in sources if one == EVERY), *others.rows]
    chosen = _chosen(rounds, asked.round)
    final, after = page_maps(
        connection,
        uid,
        asked.label,
        shown,
        [one for one in (chosen.before, chosen.chosen) if one is not None],
    )
    return {
        "maps": _maps_part(final, shown, others, asked, known, addresses),
        "rounds": _rounds_part(after, chosen, asked, known, addresses),
    }


def _maps_part(
    maps: Sequence[MeanMap], shown: Sequence[str], others: Part[str], asked: Asked, known: Sequence[Film],
    addresses: Addresses,
) -> MapsPart:  # fmt: skip
    public, released = (tuple(one for one in maps if one.site_release is kind) for kind in (False, True))
    ground = Ground(asked.label, _film_of(public, known), addresses, asked.under)
    sites_film = _film_of(released, known)
    sites = _part(site_maps(maps), SITES_A_PART, asked.sites)
    return MapsPart(
        panels=panels(find(public, "student"), ground),
        by_source=by_source(public, shown, ground) if shown else None,
        differences=differences(public, shown, ground) if shown else None,
        sources=others,
        sites=site_figure(sites.rows, maps, sites_film, asked.label, addresses),
        site_part=sites,
    )


def _chosen(rounds: Sequence[int], wanted: int | None) -> RoundsPart:
    """Choose the measured round at or before the one asked for; the last where none was."""
    if not rounds:
        return RoundsPart(())
    index = len(rounds) - 1 if wanted is None else max(0, bisect_right(rounds, wanted) - 1)
    return RoundsPart(
        rounds=tuple(rounds),
        chosen=rounds[index],
        before=rounds[index - 1] if index else None,
        after=rounds[index + 1] if index + 1 < len(rounds) else None,
    )


def _rounds_part(
    maps: Sequence[MeanMap], part: RoundsPart, asked: Asked, known: Sequence[Film], addresses: Addresses
) -> RoundsPart:
    at = {(one.round, one.subject): one for one in maps}
    now = at.get((part.chosen, "student"))
    if now is None:
        return part
    before, change = at.get((part.before, "student")), at.get((part.chosen, "student-before"))
    ground = Ground(asked.label, film_for(known, now.frame), addresses, asked.under)
    return replace(part, drawn=after_round(now, before, change, ground))


def _figures_part(connection: sa.Connection, uid: str, label: str, film: Film | None) -> FiguresPart:
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
