"""What does a released model say of one image? Class, probabilities calibrated on the public cohort, mask and map.

In: a `student.safetensors` or `candidate.safetensors` and image files. Out: predictions and, where asked for, one
picture an image. Pictures show the person on the image: they belong where the image belongs.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch

from server.audit.image_maps import STUDENT_LAYER
from shared.config.files import parse_study
from shared.config.naming import TextRule
from shared.config.study import StudyConfig
from shared.data.images import load_pixels, normalise
from shared.data.patients import ImageRecord
from shared.errors import ConfigError, DataError, WeightsError
from shared.explain import pictures
from shared.explain.scorecam import ScoreCam, score_cam
from shared.models.compact import CompactModel, build_compact, fill_image
from shared.models.student import cam_layers
from shared.models.weights import file_sha256, load_into, load_metadata, load_weights

_KEYS = ("study", "temperature", "verdict", "gate")


@dataclass(frozen=True)
class ReleasedModel:
    """A compact model with the study it was made in, its temperature and what the gate said."""

    compact: CompactModel
    study: StudyConfig
    temperature: float
    verdict: str  # "accepted" or "held"
    gate: str
    sha256: str


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image; `probabilities` by class are calibrated on public cohort patients."""

    file: Path
    predicted: str
    probabilities: dict[str, float]
    mask_area: float | None  # mean of the mask, None without an explainer
    evidence: bool  # False: no part of the image speaks for the predicted class, and the map is empty
    picture: Path | None


def open_model(path: Path) -> ReleasedModel:
    """Load a model file of a result folder; `WeightsError` when it is damaged, foreign or without its study."""
    digest = file_sha256(path)
    metadata = load_metadata(path)
    lacking = [key for key in _KEYS if key not in metadata]
    if lacking:
        raise WeightsError(
            f"{path.name}: holds no {', '.join(lacking)}; use the student.safetensors or candidate.safetensors of a "
            "result folder"
        )
    try:
        study = parse_study(json.loads(metadata["study"]), path.name)
        temperature = float(metadata["temperature"])
    except (ValueError, TypeError, ConfigError) as error:
        raise WeightsError(
            f"{path.name}: its study or temperature cannot be read; use a file made by this version"
        ) from error
    compact = build_compact(study)
    load_into(compact, load_weights(path, digest))
    return ReleasedModel(compact.eval(), study, temperature, metadata["verdict"], metadata["gate"], digest)


def predict_image(
    model: ReleasedModel, file: Path, picture: Path | None = None, text_rule: TextRule = "refuse"
) -> Prediction:
    """Classify one image file and, where `picture` names a file, draw film, mask and map for the predicted class.

    `text_rule` says what is done about text in a DICOM picture.
    `DataError` for a file that is no picture, or on which the model's numbers are not finite.
    """
    if file.suffix.lower() == ".npz":
        raise DataError(
            f"image {file} is an array file, allowed is PNG, JPEG, BMP, TIFF or DICOM; save one image as PNG"
        )
    record = ImageRecord(file, label=0, site="", patient_id="", split="", mask=None, text_rule=text_rule)
    pixels = load_pixels(record, model.study.task)
    x = normalise(pixels)[None]
    with torch.inference_mode():
        output = model.compact.run(x)
        probabilities = (output.logits[0].double() / model.temperature).softmax(0)
        mask = output.mask[0, 0].clone()
    if not bool(probabilities.isfinite().all()):
        raise DataError(
            f"image {file}: the model's numbers are not finite on it; do not use this model for it"
        )
    best = int(probabilities.argmax())
    found = _map(model.compact, x, best)
    if picture is not None:
        film = pictures.film(pixels)
        over = [pictures.film_with_map(pixels, one) for one in (mask, found.map)]
        pictures.write_png(pictures.panel(film, *over), picture)
    return Prediction(
        file=file,
        predicted=model.study.task.classes[best],
        probabilities=dict(zip(model.study.task.classes, probabilities.tolist(), strict=True)),
        mask_area=None if model.compact.explainer is None else float(mask.mean()),
        evidence=not found.no_evidence,
        picture=picture,
    )


def _map(compact: CompactModel, x: torch.Tensor, class_index: int) -> ScoreCam:
    """Score-CAM as the audit makes it (`server/audit/run_audit.py`), for the predicted class."""
    fill = fill_image(x, compact.fill)
    return score_cam(compact, cam_layers(compact.student)[STUDENT_LAYER], x, class_index, baseline=fill)
