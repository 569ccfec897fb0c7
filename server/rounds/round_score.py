"""The figure that follows the rounds: the global student on a part of the public test set.

For progress and the curve only; nothing is chosen by it.
"""

import hashlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from server.metrics.metrics import NOT_FINITE, Interval, evaluate
from server.public_data.images import PublicImages, load_public, predict_logits, softmax, tensors
from shared.config.study import StudyConfig
from shared.data.sources import read_source
from shared.models.arrays import Arrays
from shared.models.compact import CompactModel
from shared.models.trainable import load_trainable

_CURVE_IMAGES = 400


def round_score(
    workspace: Path, study: StudyConfig, compact: CompactModel
) -> Callable[[Arrays], dict[str, Any]]:
    """Return a function from global weights to their figures on at most 400 public test images."""
    images = load_public(read_source(workspace / "public" / "test.csv", study.task), study.task)
    order = np.array(
        sorted(range(len(images)), key=lambda row: _place(images.patient_ids[row], row)), np.int64
    )
    images = images.only(order[:_CURVE_IMAGES])
    some = tensors(images.pixels[:64])

    def score(weights: Arrays) -> dict[str, Any]:
        load_trainable(compact, weights)
        auc = _auc(predict_logits(compact, images), images, study)
        with torch.inference_mode():
            area = float(compact.mask(some).mean())
        shown = area if math.isfinite(area) else None
        return {"auc": auc.model_dump(), "mask_area": shown, "num_images": len(images)}

    return score


def _auc(logits: NDArray[np.float64], images: PublicImages, study: StudyConfig) -> Interval:
    """Return the test AUC of logits (N, C); without a value where they are not all finite."""
    if not np.isfinite(logits).all():
        return Interval(value=None, reason=NOT_FINITE)
    task = study.task
    return evaluate(softmax(logits), images.labels, images.patients, task.classes, task.positive).auc


def _place(patient_id: str, row: int) -> str:
    return hashlib.sha256(f"curve|{patient_id}|{row}".encode()).hexdigest()
