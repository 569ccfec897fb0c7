"""Reference images with their maps, worst first: a page of them, filtered by the database.

In: the store. Out: for each image the film's address, one strip of layers to be laid over four copies of the film, and
what is wrong with it in words. Reference images are public; no hospital's own image is here.
"""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from server.dashboard.maps import draw
from server.dashboard.maps.cache import PICTURES
from server.dashboard.maps.cells import of_grid
from server.dashboard.maps.film import Film
from server.dashboard.maps.outline import outlines
from server.dashboard.rendering.paging import Paged
from server.dashboard.views.explanations.map_words import strongest_places
from server.store.chain import canonical
from server.store.record_kinds import Grid
from server.store.schema import BLOBS, IMAGES

SIZE: Final = 12
SIDE_PX: Final = 112
PANELS: Final = ("film", "teacher", "mask", "student")
OUTCOMES: Final = {"wrong": "wrong answer", "right": "right answer", "bare": "no positive evidence"}
_SUBJECTS: Final = {"teacher": "teacher", "explainer": "mask", "student": "student"}
_FACTS: Final = {
    "probability_true": "probability of the true class",
    "lift_student": "student’s lift",
    "lift_teacher": "teacher’s lift",
    "agreement_teacher": "agreement with the teacher",
    "mask_area": "mask area",
}


@dataclass(frozen=True)
class Wanted:
    """Which images: empty means all."""

    true_class: str = ""
    source: str = ""
    outcome: str = ""

    def conditions(self) -> list[Any]:
        """Return the conditions for the database."""
        no_map = IMAGES.c.maps["student"].as_string().is_(None)
        outcomes = {
            "wrong": IMAGES.c.true_class != IMAGES.c.predicted_class,
            "right": IMAGES.c.true_class == IMAGES.c.predicted_class,
            "bare": no_map,
        }
        found = [outcomes[self.outcome]] if self.outcome in outcomes else []
        found += [IMAGES.c.true_class == self.true_class] if self.true_class else []
        return found + ([IMAGES.c.from_source == self.source] if self.source else [])


@dataclass(frozen=True)
class Example:
    """One image; `layers` is a data address of a strip as wide as its four panels."""

    key: str
    rank: int
    source: str
    true_class: str
    predicted_class: str
    film: str
    layers: str
    why: str
    facts: tuple[tuple[str, str], ...]
    seen: str

    @property
    def is_right(self) -> bool:
        """Tell whether the student named the true class."""
        return self.true_class == self.predicted_class


def reference_images(
    connection: sa.Connection, uid: str, wanted: Wanted, number: int, film: Film | None, path: str, label: str
) -> Paged[Example]:
    """Return one page of images, worst first, in one statement."""
    regions, lesions = BLOBS.alias("regions"), BLOBS.alias("lesion_masks")
    rows = connection.execute(
        sa.select(
            IMAGES, sa.func.count().over().label("total"), regions.c.content.label("region_mask"),
            lesions.c.content.label("lesion_mask"),
        )
        .outerjoin_from(IMAGES, regions, regions.c.digest == IMAGES.c.region)
        .outerjoin(lesions, lesions.c.digest == IMAGES.c.lesions)
        .where(IMAGES.c.study_uid == uid, *wanted.conditions())
        .order_by(IMAGES.c.rank).limit(SIZE).offset((number - 1) * SIZE)
    ).all()  # fmt: skip
    region = "the region" if film is None else film.region
    found = tuple(_example(row, region) for row in rows)
    asked = {
        "label": label,
        "true_class": wanted.true_class,
        "source": wanted.source,
        "outcome": wanted.outcome,
    }
    return Paged(found, number, SIZE, rows[0].total if rows else 0, path, asked)


def _strip_key(row: Any) -> str:
    maps = [row.maps.get(one) for one in _SUBJECTS]
    said = canonical(["strip", draw.RENDERING, SIDE_PX, row.region, row.lesions, maps])
    return hashlib.sha256(said.encode()).hexdigest()


def _strip(row: Any) -> bytes:
    """Draw outlines, then the three maps, clear where the film shows."""
    grids = [row.maps.get(one) for one in _SUBJECTS]
    layers = [
        outlines(row.region_mask, row.lesion_mask, SIDE_PX),
        *(
            None
            if grid is None
            else draw.layer("overlay", SIDE_PX, of_grid(Grid.model_validate(grid)), single=True)
            for grid in grids
        ),
    ]
    return draw.png(draw.sheet(layers, SIDE_PX, len(layers)))


def _example(row: Any, region: str) -> Example:
    figures, strip = row.figures, PICTURES.get_or_make(_strip_key(row), lambda: _strip(row))
    seen = "; ".join(f"{name}: {_seen(row.maps.get(subject))}" for subject, name in _SUBJECTS.items())
    return Example(
        key=row.key,
        rank=row.rank,
        source=row.from_source,
        true_class=row.true_class,
        predicted_class=row.predicted_class,
        film=row.film,
        layers="data:image/png;base64," + base64.b64encode(strip).decode(),
        why=_why(row, region),
        facts=tuple(
            (words, "not measured" if figures.get(name) is None else f"{figures[name]:.2f}")
            for name, words in _FACTS.items()
        ),
        seen=seen,
    )


def _seen(grid: dict[str, Any] | None) -> str:
    return "no positive evidence" if grid is None else strongest_places(of_grid(Grid.model_validate(grid)))


def _why(row: Any, region: str) -> str:
    """Say what the order went by: no evidence, then least energy in the region, then least agreement."""
    lift, agreement = row.figures.get("lift_student"), row.figures.get("agreement_teacher")
    if row.maps.get("student") is None:
        return "No positive evidence for the true class."
    if lift is not None:
        return f"{lift:.2f} times as much energy in {region} as an even map."
    if agreement is not None:
        return f"No region is drawn; agreement with the teacher is {agreement:.2f}."
    return "Neither region nor agreement was measured."
