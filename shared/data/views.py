"""Deterministic views of a patient: pixels come in, slightly moved pixels go out. They never leave the site.

What view k of a patient looks like is a hash of (patient_id, k) and nothing else, so that teacher targets
can be cached and no patient changes another's views.
"""

import hashlib

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.config.study import Task
from shared.data.images import Pixels, load_pixels
from shared.data.patients import Patient

MAX_ROTATION = 0.12  # radians, about 7 degrees
MAX_SHIFT = 0.05  # share of the side
MAX_SCALE = 0.08
MAX_GAMMA = 0.2  # in the exponent's logarithm


def view(pixels: Pixels, patient_id: str, k: int, *, flip: bool) -> Pixels:
    """Return view k (H, W, 3) uint8 of an image; k = 0 is the image itself.

    Other views turn, shift, scale and change gamma; `flip` also allows mirroring, which must be off where
    left and right matter (the heart is on one side).
    """
    if k == 0:
        return pixels
    turn, x, y, scale, gamma, mirror = _draws(patient_id, k)
    height, width = pixels.shape[:2]
    zoom = 1 + MAX_SCALE * scale
    c, s = np.cos(MAX_ROTATION * turn) / zoom, np.sin(MAX_ROTATION * turn) / zoom
    if flip and mirror > 0:
        pixels = pixels[:, ::-1]
    middle_x, middle_y = width / 2, height / 2
    to_x, to_y = middle_x + MAX_SHIFT * x * width, middle_y + MAX_SHIFT * y * height
    matrix = (c, s, middle_x - c * to_x - s * to_y, -s, c, middle_y + s * to_x - c * to_y)
    moved = Image.fromarray(np.ascontiguousarray(pixels)).transform(
        (width, height), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    curve = 255 * (np.arange(256) / 255) ** np.exp(MAX_GAMMA * gamma) + 0.5
    seen: Pixels = curve.astype(np.uint8)[np.asarray(moved)]
    return seen


def patient_views(patient: Patient, task: Task, num_views: int) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Return views (K, H, W, 3) uint8 and labels (K,) of one patient.

    With n images view k shows image k mod n, unchanged while k < n. Errors: `DataError` when an image that is
    needed cannot be read; the caller lets such a patient contribute zero.
    """
    num_images = len(patient.images)
    loaded = [load_pixels(record, task) for record in patient.images[:num_views]]
    views = [
        view(
            loaded[k % num_images],
            patient.patient_id,
            k if k >= num_images else 0,
            flip=not task.laterality_matters,
        )
        for k in range(num_views)
    ]
    labels = [patient.images[k % num_images].label for k in range(num_views)]
    return np.stack(views), np.array(labels, dtype=np.int64)


def _draws(patient_id: str, k: int) -> list[float]:
    """Six numbers in -1..1 from the hash of (patient_id, k)."""
    digest = hashlib.blake2b(f"{patient_id}\0{k}".encode(), digest_size=24).digest()
    return [int.from_bytes(digest[i : i + 4], "little") / 2**31 - 1 for i in range(0, 24, 4)]
