"""The mean maps of a study, as its explanations page and its files of numbers read them.

In: the store. Out: one value a map, with its cells. A site's release below the minimum has no cells and no number:
nothing after this module could show what it holds.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from server.dashboard.maps import bands
from server.dashboard.maps.cells import EVEN, Cells, of_grid
from server.dashboard.maps.film import Film
from server.presentation.model_names import MAP_PANELS
from server.store.record_kinds import EVERY, Grid
from server.store.schema import FILMS, MAPS

NAMES: Final = {
    **MAP_PANELS,
    "student-teacher": "Student minus teacher",
    "student-before": "Student minus the round before",
}
MAIN: Final = ("teacher", "explainer", "student")
_COUNTS: Final = ("num_images", "num_patients", "num_without_evidence")
_COLUMNS: Final = (
    MAPS.c.subject, MAPS.c.label, MAPS.c.from_source, MAPS.c.round, MAPS.c.site_release, MAPS.c.frame,
    MAPS.c.num_images, MAPS.c.num_patients, MAPS.c.num_without_evidence, MAPS.c.noise_std, MAPS.c.epsilon,
    MAPS.c.digest, MAPS.c.grid,
)  # fmt: skip


@dataclass(frozen=True)
class MeanMap:
    """One mean map; `cells` None where no image had positive evidence, or where too few patients stand behind it."""

    subject: str
    label: str
    source: str
    round: int | None
    site_release: bool
    frame: str
    num_images: int
    num_patients: int
    num_without_evidence: int
    noise_std: float | None
    epsilon: float | None
    digest: str
    cells: Cells | None
    too_few: bool = False

    @property
    def name(self) -> str:
        """What the map is of, for a reader."""
        return NAMES.get(self.subject, self.subject)


def page_maps(
    connection: sa.Connection, uid: str, label: str, sources: Sequence[str], rounds: Sequence[int] = ()
) -> tuple[list[MeanMap], list[MeanMap]]:
    """Return maps of one class: the final ones of some sources and all that sites released, and those after rounds."""
    final = MAPS.c.round.is_(None) & sa.or_(MAPS.c.from_source.in_(sources), MAPS.c.site_release)
    after = MAPS.c.round.in_(rounds) & (MAPS.c.from_source == EVERY) & MAPS.c.site_release.is_(False)
    query = sa.select(*_COLUMNS).where(MAPS.c.study_uid == uid, MAPS.c.label == label, sa.or_(final, after))
    found = [_mean_map(row) for row in connection.execute(query.order_by(MAPS.c.id))]
    return [one for one in found if one.round is None], [one for one in found if one.round is not None]


def map_by_digest(connection: sa.Connection, digest: str) -> tuple[str, MeanMap] | None:
    """Return the study and the map that a digest names."""
    row = connection.execute(
        sa.select(MAPS.c.study_uid, *_COLUMNS).where(MAPS.c.digest == digest).limit(1)
    ).first()
    return None if row is None else (row.study_uid, _mean_map(row))


def inventory(connection: sa.Connection, uid: str, label: str) -> tuple[list[int], list[str]]:
    """Return the rounds after which the student's map of one class was measured, and the sources of final maps."""
    rows = connection.execute(
        sa.select(MAPS.c.subject, MAPS.c.round, MAPS.c.from_source).distinct().where(
            MAPS.c.study_uid == uid, MAPS.c.label == label, MAPS.c.site_release.is_(False)
        )
    ).all()  # fmt: skip
    rounds = {row.round for row in rows if row.subject == "student" and row.from_source == EVERY}
    sources = {row.from_source for row in rows if row.round is None}
    return sorted(rounds - {None}), sorted(sources, key=lambda one: (one != EVERY, one))


def films(connection: sa.Connection, uid: str) -> list[Film]:
    """Return the films of a study, the one of all sources first."""
    rows = connection.execute(
        sa.select(
            FILMS.c.film, FILMS.c.frame, FILMS.c.from_source, FILMS.c.num_images, FILMS.c.outlines,
            FILMS.c.laterality,
        ).where(FILMS.c.study_uid == uid).order_by(FILMS.c.frame, FILMS.c.from_source)
    )  # fmt: skip
    return sorted((Film(*tuple(row)) for row in rows), key=lambda one: one.source != EVERY)


def find(maps: Iterable[MeanMap], subject: str, source: str = EVERY) -> MeanMap | None:
    """Return the map of one subject over the reference images of one source."""
    return next(
        (one for one in maps if one.subject == subject and one.source == source and not one.site_release),
        None,
    )


def difference(first: MeanMap, second: MeanMap) -> Cells | None:
    """Return the first map less the second, of the same images, where no record holds that difference.

    How the two vary together is not on record, and a sum's standard deviation is never more than the sum of both: the
    interval is at least 95 percent, and wider than need be.
    """
    one, other = first.cells, second.cells
    if one is None or other is None or one.values.shape != other.values.shape:
        return None
    values = one.values - other.values
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Cells(values, expected=0.0)
    low = values - (one.values - one.low) - (other.high - other.values)
    return Cells(values, low, values + (one.high - one.values) + (other.values - other.low), 0.0)


def withheld(row: Any) -> dict[str, Any]:
    """Return what must stand in place of a row's own fields: of a site below the minimum, no number may be read."""
    few = bool(row.site_release) and not bands.enough(row.num_patients, row.noise_std)
    return {"too_few": few} | (dict.fromkeys((*_COUNTS, "noise_std", "epsilon", "grid")) if few else {})


def _mean_map(row: Any) -> MeanMap:
    values = row._asdict() | withheld(row)
    grid, source = values.pop("grid"), values.pop("from_source")
    values.pop("study_uid", None)
    cells = None if grid is None else of_grid(Grid.model_validate(grid), 0.0 if "-" in row.subject else EVEN)
    counts = {name: values[name] or 0 for name in _COUNTS}
    return MeanMap(**values | counts, source=source, cells=cells)
