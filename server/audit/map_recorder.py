"""What the audit saw, image by image, as records: films, maps of single images, and mean maps in one frame.

In: the images of an audit with their maps, one after the other. Out: bodies and blobs for the audit store. Every image
is a public reference image. What is kept of one is its film, its masks and a few hundred numbers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from server.audit.image_maps import Views
from server.audit.image_selection import choose_images
from server.audit.mean_image import MeanFilm, png
from server.audit.mean_map_records import Placed, frame_of, lifted, mean_bodies, sides_of
from server.audit.results import badness
from server.metrics.audit_result import ImageAudit
from server.store.intake.outbox import Blob
from server.store.record_kinds import EVERY, Body, FilmBody, Grid, ImageBody, Subject
from shared.config.study import StudyConfig
from shared.data.patients import Patient
from shared.explain import regions
from shared.explain.frames import CHEST, FUNDUS, IMAGE, WHOLE, Box, Frame, box_of
from shared.models.compact import METHODS_WITH_MASK

Floats = npt.NDArray[np.float64]
MOST_CELLS: Final = 16  # a side, of the map of a single image
_DIGITS: Final = 4
_LATERALITY: Final = {
    CHEST.name: "the patient's left is on the right of the picture",
    FUNDUS.name: "right and left eyes are not told apart",
}


@dataclass(frozen=True)
class Seen:
    """What is kept of one image; `placed` None where it has no region to bring it into the frame."""

    image: ImageAudit
    film: Blob
    region: Blob | None
    lesions: Blob | None
    maps: dict[Subject, Grid | None]
    box: Box | None
    placed: Placed | None


@dataclass
class Looks:
    """Looks over the audit's shoulder (`run_audit(look=...)`) and says what it saw."""

    study: StudyConfig
    frame: Frame
    seen: list[Seen] = field(default_factory=list)
    films: dict[str, MeanFilm] = field(default_factory=dict)

    @classmethod
    def over(cls, reference: Sequence[Patient], study: StudyConfig) -> "Looks":
        """Begin with the frame that fits the images that will be audited."""
        return cls(study, audit_frame(reference, study))

    def __call__(self, image: ImageAudit, views: Views) -> None:
        """Keep what records need of one image."""
        box = box_in(None if views.region is None else views.region.numpy(), self.frame)
        maps = _maps(image, views, self.study)
        placed = None
        if box is not None:
            sides = sides_of(views.student.grid[0])
            found = {
                side: {name: lifted(one, box, self.frame, side) for name, one in maps.items()}
                for side in sides
            }
            placed = Placed(image.patient, image.true_class, image.site, found)
            self._add_film(views, box)
        native = _native(views, self.study)
        self.seen.append(
            Seen(
                image,
                film=png((views.pixels.mean(axis=2) + 0.5).astype(np.uint8)),
                region=None if views.region is None else png(views.region.numpy()),
                lesions=None if views.lesions is None else png(views.lesions.numpy()),
                maps={name: _grid(maps[name], native[name]) for name in native if name in maps},
                box=box,
                placed=placed,
            )
        )

    def placed(self) -> list[Placed]:
        """Return the images that were brought into the frame, in the order of the audit."""
        return [one.placed for one in self.seen if one.placed is not None]

    def records(self) -> tuple[list[Body], list[Blob]]:
        """Return films, mean maps and single images, the worst first, with the blobs that they name."""
        bodies: list[Body] = []
        blobs: list[Blob] = []
        for source, film in sorted(self.films.items()):
            picture = film.picture()
            blobs.append(picture)
            bodies.append(
                FilmBody(
                    frame=self.frame.name,
                    source=source,
                    film=picture.digest,
                    num_images=film.num_images,
                    outlines=film.outlines(),
                    laterality=_LATERALITY.get(self.frame.name, ""),
                )
            )
        bodies += mean_bodies(self.placed(), self.study.task.classes, self.frame)
        for rank, one in enumerate(sorted(self.seen, key=lambda one: badness(one.image)), start=1):
            bodies.append(_image_body(one, rank))
            blobs += [blob for blob in (one.film, one.region, one.lesions) if blob is not None]
        return bodies, blobs

    def _add_film(self, views: Views, box: Box) -> None:
        masks = {}
        if views.region is not None and self.frame not in {FUNDUS, IMAGE}:
            masks["lungs" if self.frame == CHEST else "region"] = views.region.numpy()
        for source in (EVERY, views.record.site):
            self.films.setdefault(source, MeanFilm(self.frame)).add(views.pixels, box, masks)


def audit_frame(reference: Sequence[Patient], study: StudyConfig) -> Frame:
    """Return the frame of the reference images that a study's audits look at."""
    chosen = choose_images(reference, study.audit.num_images)
    return frame_of(study.task, with_regions=any(record.mask is not None for _, record in chosen))


def box_in(region: npt.NDArray[np.bool_] | None, frame: Frame) -> Box | None:
    """Return what of an image comes to lie in the frame's box; None where it has no region to go by."""
    if frame in {FUNDUS, IMAGE}:
        return WHOLE
    return None if region is None else box_of(region)


def _maps(image: ImageAudit, views: Views, study: StudyConfig) -> dict[Subject, Floats | None]:
    size = (views.pixels.shape[0], views.pixels.shape[1])
    found: dict[Subject, Floats | None] = {
        "teacher": views.teacher.map.double().numpy(),
        "student": views.student.map.double().numpy() if image.finite else None,
        "explainer": views.mask.double().numpy(),
        "random": views.random.double().numpy(),
        "centre": regions.centre_map(size).double().numpy(),
    }
    if study.distillation.method not in METHODS_WITH_MASK:
        del found["explainer"]
    return found


def _native(views: Views, study: StudyConfig) -> dict[Subject, int]:
    """Return the cells a side of each map's own layer, at most 16."""
    own: dict[Subject, int] = {
        "teacher": views.teacher.grid[0],
        "student": views.student.grid[0],
        "explainer": study.task.image_size // study.models.explainer.stride,
    }
    return {name: min(side, MOST_CELLS) for name, side in own.items()}


def _grid(found: Floats | None, side: int) -> Grid | None:
    values = lifted(found, WHOLE, IMAGE, side)
    if values is None:
        return None
    return Grid(rows=side, columns=side, values=tuple(np.round(values, _DIGITS).ravel().tolist()))


def _image_body(one: Seen, rank: int) -> ImageBody:
    image = one.image
    return ImageBody(
        key=image.key,
        rank=rank,
        patient=image.patient,
        source=image.site,
        true_class=image.true_class,
        predicted_class=image.predicted_class,
        film=one.film.digest,
        region=None if one.region is None else one.region.digest,
        lesions=None if one.lesions is None else one.lesions.digest,
        maps=one.maps,
        figures=image.figures,
    )
