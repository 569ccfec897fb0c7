"""One reference image with the maps about it: what the audit measures, draws and records.

In: student, teacher and one public image. Out: its pixels, masks and maps of one size.
"""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from server.audit.image_selection import key_of
from shared.config.study import StudyConfig
from shared.data.images import Pixels, load_mask, load_pixels, normalise
from shared.data.patients import ImageRecord
from shared.explain import pictures, regions
from shared.explain.scorecam import ScoreCam, score_cam
from shared.models.compact import CompactModel, fill_image
from shared.models.student import cam_layers
from shared.models.teacher import Teacher

STUDENT_LAYER: Final = "stage4"  # 136 channels at stride 16: fewer and finer than the last layer's
FEWEST_CELLS: Final = 4  # a side: below it a map cannot tell lung from border


@dataclass(frozen=True)
class Views:
    """One image: pixels (H, W, 3) uint8, masks (H, W) bool, and maps (H, W) at least 0, of its true class."""

    record: ImageRecord
    pixels: Pixels
    region: Tensor | None
    lesions: Tensor | None
    mask: Tensor
    teacher: ScoreCam
    student: ScoreCam
    random: Tensor


def views_of(
    compact: CompactModel, teacher: Teacher, layer: nn.Module, record: ImageRecord, study: StudyConfig
) -> Views:
    """Read an image and make its maps; `layer` is the teacher's. Models must be in evaluation mode.

    DataError for an image or mask that cannot be read.
    """
    pixels = load_pixels(record, study.task)
    region, lesions = load_mask(record, study.task), load_mask(record, study.task, "lesion_mask")
    x = normalise(pixels)
    with torch.inference_mode():
        mask = compact.mask(x[None])[0, 0].clone()
    student = student_map(compact, x, record.label)
    taught = score_cam(
        teacher,
        layer,
        x,
        record.label,
        baseline=fill_image(x[None], compact.fill)[0],
        channels=study.audit.teacher_channels,
        nhwc=teacher.nhwc,
    )
    generator = regions.seeded(key_of(record))
    random = regions.random_map(student.grid, (x.shape[1], x.shape[2]), generator)
    return Views(
        record,
        pixels,
        region=None if region is None else torch.from_numpy(region),
        lesions=None if lesions is None else torch.from_numpy(lesions),
        mask=mask,
        teacher=taught,
        student=student,
        random=random,
    )


def student_map(compact: CompactModel, x: Tensor, label: int) -> ScoreCam:
    """Return the compact model's map for one class of a normalised image (3, H, W)."""
    layer = cam_layers(compact.student)[STUDENT_LAYER]
    return score_cam(compact, layer, x, label, baseline=fill_image(x[None], compact.fill)[0])


def teacher_layer(teacher: Teacher) -> tuple[str, nn.Module]:
    """Return the teacher's deepest layer whose map has at least 4 cells a side, with its name."""
    network: Any = teacher.network
    fine = [info for info in network.feature_info if teacher.image_size >= FEWEST_CELLS * info["reduction"]]
    if not fine:
        return "last", teacher.cam_layer()
    name = str(fine[-1]["module"])
    return name, teacher.network.get_submodule(name)


def panel(views: Views) -> pictures.Picture:
    """Return the film with its region, then under the explainer's mask, the teacher's and the student's map."""
    over = [
        pictures.film_with_map(views.pixels, m) for m in (views.mask, views.teacher.map, views.student.map)
    ]
    return pictures.panel(pictures.film_with_outline(views.pixels, views.region), *over)
