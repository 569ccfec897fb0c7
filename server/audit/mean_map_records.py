"""Mean maps as records: which groups of images there are, and one record for each group and map.

In: images whose maps were brought into one frame. Out: bodies, by true class and by source of the images.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from server.audit.mean_maps import MeanMap, difference_map, mean_map
from server.store.record_kinds import EVERY, Difference, MapBody, Subject
from shared.config.study import Task
from shared.explain.frames import CHEST, FUNDUS, IMAGE, REGION, Box, Frame, lifts

Floats = npt.NDArray[np.float64]
FINE: Final = 14  # cells a side, for maps that are as fine, of many patients
COARSE: Final = 7  # cells a side otherwise; what lies between a coarser map's own cells is interpolated
MANY: Final = 30  # patients


@dataclass(frozen=True)
class Placed:
    """One image in the frame: by cells a side and by map, energy over area (side, side); None without evidence."""

    patient: int
    label: str
    source: str
    maps: Mapping[int, Mapping[Subject, Floats | None]]


def frame_of(task: Task, *, with_regions: bool) -> Frame:
    """Return the frame of a study's images: by their region where they have masks, by the disc for fundus."""
    if task.crop == "field_of_view":
        return FUNDUS
    if with_regions:
        return CHEST if task.laterality_matters else REGION
    return IMAGE


def sides_of(native: int) -> tuple[int, ...]:
    """Return on how many cells a side maps are kept whose own layer has so many."""
    return (COARSE, FINE) if native >= FINE else (COARSE,)


def lifted(found: Floats | None, box: Box, frame: Frame, side: int) -> Floats | None:
    """Return energy over area in the frame; None without evidence."""
    return None if found is None else lifts(found, box, frame, side)


def groups(placed: Sequence[Placed], classes: Sequence[str]) -> Iterator[tuple[str, str, list[Placed]]]:
    """Yield (class, source, images) of every group that has images, all of them first."""
    sources = sorted({one.source for one in placed})
    for source in (EVERY, *sources):
        for label in (EVERY, *classes):
            some = [one for one in placed if label in {EVERY, one.label} and source in {EVERY, one.source}]
            if some:
                yield label, source, some


def mean_bodies(placed: Sequence[Placed], classes: Sequence[str], frame: Frame) -> Iterator[MapBody]:
    """Yield the mean map of every subject, and of the student less the teacher, over every group of images."""
    for label, source, some in groups(placed, classes):
        side = _side(some)
        patients = [one.patient for one in some]
        columns = {name: [one.maps[side][name] for one in some] for name in some[0].maps[side]}
        for subject, column in columns.items():
            yield body_of(subject, mean_map(patients, column), frame, label, source)
        less = difference_map(patients, columns["student"], columns["teacher"])
        yield body_of("student-teacher", less, frame, label, source)


def round_bodies(
    now: Sequence[Placed], before: Sequence[Placed], classes: Sequence[str], frame: Frame, number: int
) -> Iterator[MapBody]:
    """Yield the student's mean maps after a round by class, and less those of the measured round before.

    `before` holds the same images in the same order, or nothing where no earlier round was measured.
    """
    earlier = {id(one): other for one, other in zip(now, before, strict=False)}
    for label, source, some in groups(now, classes):
        if source != EVERY:
            return
        patients = [one.patient for one in some]
        column = [one.maps[COARSE]["student"] for one in some]
        yield body_of("student", mean_map(patients, column), frame, label, number=number)
        if before:
            old = [earlier[id(one)].maps[COARSE]["student"] for one in some]
            less = difference_map(patients, column, old)
            yield body_of("student-before", less, frame, label, number=number)


def body_of(
    subject: Subject | Difference,
    mean: MeanMap,
    frame: Frame,
    label: str,
    source: str = EVERY,
    *,
    number: int | None = None,
) -> MapBody:
    """Return the record of one mean map."""
    return MapBody(
        subject=subject,
        label=label,
        source=source,
        round=number,
        num_images=mean.num_images,
        num_patients=mean.num_patients,
        num_without_evidence=mean.num_without_evidence,
        grid=mean.grid,
        frame=frame.name,
    )


def _side(some: Sequence[Placed]) -> int:
    """Choose fine cells for many patients: with few, none would differ from chance."""
    return max(some[0].maps) if len({one.patient for one in some}) >= MANY else COARSE
