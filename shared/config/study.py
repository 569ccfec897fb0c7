"""What all sites of a study agree on: one validated, frozen value whose digest is in every record and message."""

import hashlib
import json
import math
from datetime import date
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, Field, model_validator

from shared.config.federation import Federation
from shared.config.study_rules import check_readout, check_times
from shared.config.values import (
    AS_BEFORE,
    CLIPS,
    FEWEST_EXPECTED,
    LARGEST_NOISE,
    MOST_STEPS,
    NOISES,
    STUDY_NAME,
    Digest,
    Setting,
)

T = TypeVar("T", bound=BaseModel)
Method = Literal["supervised", "kd", "hybrid", "medtex", "rounds"]
TrainableSet = Literal["readout", "head", "scales", "last", "all"]


class Task(Setting):
    """What is classified, and at what size."""

    classes: tuple[str, ...] = Field(min_length=2, max_length=64)
    image_size: int = Field(
        64,
        ge=32,
        le=512,
        multiple_of=4,
        description="side of the square input, pixels; a teacher that cannot take it says which it takes",
    )
    positive: str | None = Field(None, description="the class whose AUC is reported when there are two")
    laterality_matters: bool = True
    crop: Literal["none", "field_of_view"] = Field(
        "none", description="field_of_view cuts a fundus photograph to its disc"
    )

    @model_validator(mode="after")
    def _classes_make_sense(self) -> Self:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes must differ from each other")
        if self.positive is not None and self.positive not in self.classes:
            raise ValueError(f"positive must be one of {', '.join(self.classes)}")
        return self


class TeacherChoice(Setting):
    """A frozen timm classifier by name; `sha256` names its weights file."""

    name: str = "vgg19"
    sha256: Digest | None = None


class Subnet(Setting):
    """A sub-network of the w1.2 OFA supernet: kernel and expand ratio of each of 20 slots, depth of 5 stages."""

    kernels: tuple[Literal[3, 5, 7], ...] = Field(min_length=20, max_length=20)
    expand_ratios: tuple[Literal[3, 4, 6], ...] = Field(min_length=20, max_length=20)
    depths: tuple[Literal[2, 3, 4], ...] = Field(min_length=5, max_length=5)


class StudentChoice(Setting):
    """OFA-595 or another sub-network of its supernet; no BatchNorm trains under privacy."""

    architecture: Literal["ofa595"] | Subnet = "ofa595"
    normalisation: Literal["group", "frozen"] = "group"
    weights_sha256: Digest | None = Field(
        None, description="published weights that a frozen student begins with; the hub has the file"
    )


class ExplainerChoice(Setting):
    """The light U-Net that draws the mask on a grid of image_size / stride."""

    width: int = Field(
        16,
        ge=4,
        le=24,
        description="channels of its first stage; at 24 it has 0.28 M parameters, at most 0.3 M",
    )
    stride: Literal[4, 8, 16] = 8


class ReadoutChoice(Setting):
    """A linear layer on one frozen map of the student, added to its logits: what few patients can train."""

    stage: Literal[3, 4] = Field(
        3, description="the stage whose map is read, of 96 or 136 channels, stride 16"
    )
    grid: Literal[1, 2, 4] = Field(
        4, description="the map is averaged over grid x grid cells; 1 is the mean over the film"
    )


class Models(Setting):
    """Teacher, student, explainer and readout; `initial_sha256` names the warm-started compact model."""

    teacher: TeacherChoice = TeacherChoice()
    student: StudentChoice = StudentChoice()
    explainer: ExplainerChoice = ExplainerChoice()
    readout: ReadoutChoice | None = Field(None, json_schema_extra=AS_BEFORE)
    initial_sha256: Digest | None = None

    @model_validator(mode="after")
    def _frozen_has_weights(self) -> Self:
        frozen = self.student.normalisation == "frozen"
        if frozen != (self.student.weights_sha256 is not None):
            raise ValueError(
                "student.normalisation frozen needs student.weights_sha256, the published weights whose statistics "
                "are folded in, and group takes none; name them, or use group"
            )
        return self


class Weights(Setting):
    """Weights on the terms of the objective (design: Method); None keeps the method's own value."""

    alpha: float | None = Field(None, ge=0, le=1, description="share of the hard labels")
    temperature: float | None = Field(None, gt=0, le=20)
    feature: float | None = Field(None, ge=0, description="f, MED-TEX's mutual-information term")
    area: float | None = Field(None, ge=0, description="a, hinge on the mean of the mask")
    total_variation: float | None = Field(None, ge=0, description="v")
    teacher_on_masked: float | None = Field(None, ge=0, description="d, warm start only")
    teacher_on_complement: float | None = Field(None, ge=0, description="c, warm start only")


class Distillation(Setting):
    """The objective: a method is a named set of weights on the same terms."""

    method: Method = "rounds"
    weights: Weights = Weights()
    site_weights: Weights = Field(
        Weights(),
        json_schema_extra=AS_BEFORE,
        description="other weights at the sites than in the warm start",
    )
    mask_area: float = Field(0.5, gt=0, le=1, description="share of the image the mask may keep for free")
    fill: Literal["zero", "blur"] = "zero"
    num_views: int = Field(2, ge=1, le=16, description="K deterministic views of a patient")
    views_per_step: int = Field(1, ge=1, le=16, description="views drawn by the patient's own coin each step")

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> Self:
        if self.views_per_step > self.num_views:
            raise ValueError(f"views_per_step must be at most num_views ({self.num_views})")
        return self


class WarmStart(Setting):
    """Distillation on the public cohort before round 1."""

    epochs: int = Field(8, ge=0, le=1000)
    batch_size: int = Field(16, ge=2, le=1024)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    teacher_in_loop_every: int = Field(4, ge=1, description="batches between steps with the d and c terms")


class Privacy(Setting):
    """The claim of one site: (epsilon, delta) for all records of one patient, add or remove."""

    enabled: bool = True
    epsilon: float = Field(8.0, gt=0, le=100)
    delta: float = Field(
        1e-5, ge=1e-12, lt=1e-2, description="below 1e-12 the accountants' own rounding shows"
    )
    sample_rate: float = Field(0.1, ge=1e-6, le=1)
    max_grad_norm: float = Field(
        1.0,
        ge=CLIPS[0],
        le=CLIPS[1],
        description="clips in use lie between 0.01 and 100; with the other limits the noise stays far below the "
        "largest value of an update, so that no answer hangs on where the noise fell",
    )
    noise_multiplier: float | None = Field(
        None,
        ge=NOISES[0],
        le=NOISES[1],
        description="None: calibrated from the rest; below 0.1 a step that takes everybody spends epsilon 90, above "
        "10,000 nothing is learnt",
    )
    trainable: TrainableSet = "scales"


class Audit(Setting):
    """The central audit and the gate's thresholds, chosen before anything is seen."""

    num_images: int = Field(24, ge=1)
    teacher_channels: int = Field(64, ge=1, description="highest-energy channels for the teacher's map")
    min_auc: float = Field(0.6, ge=0, le=1, description="lower end of the 95 percent interval")
    min_lung_lift_ratio: float = Field(
        1.0,
        ge=0,
        description="region energy over area, divided by that of a random map; lower end of the interval",
    )
    max_mask_area: float = Field(0.95, gt=0, le=1, description="above this the mask is the identity")


class Public(Setting):
    """Digests of the three public sets; overlap of their patients is refused."""

    cohort_sha256: Digest | None = None
    reference_sha256: Digest | None = None
    test_sha256: Digest | None = None


class StudyConfig(Setting):
    """Everything that all sites agree on."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=STUDY_NAME)
    purpose: str = Field(min_length=1)
    ethics_reference: str = Field(min_length=1)
    expires: date
    task: Task
    models: Models = Models()
    distillation: Distillation = Distillation()
    warm_start: WarmStart = WarmStart()
    privacy: Privacy = Privacy()
    federation: Federation = Federation()
    audit: Audit = Audit()
    public: Public = Public()

    @model_validator(mode="after")
    def _whole_study_has_a_measure(self) -> Self:
        rules, privacy = self.federation, self.privacy
        check_times(rules)
        if rules.rounds * rules.steps > MOST_STEPS:
            raise ValueError(
                f"federation.rounds x federation.steps is {rules.rounds * rules.steps}, allowed is at most "
                f"{MOST_STEPS}; lower one of them"
            )
        check_readout(rules, privacy.trainable, has_readout=self.models.readout is not None)
        if privacy.enabled and privacy.noise_multiplier is not None:
            spread = rules.learning_rate * privacy.max_grad_norm * privacy.noise_multiplier / FEWEST_EXPECTED
            largest = 10 * spread * math.sqrt(rules.steps) / (1 - rules.momentum)
            if largest > LARGEST_NOISE:
                raise ValueError(
                    "federation.learning_rate x privacy.max_grad_norm x privacy.noise_multiplier: ten standard "
                    f"deviations of a weight's noise are {largest:.3g} in one round, allowed is at most "
                    f"{LARGEST_NOISE:g}; lower one of the three"
                )
        return self

    @property
    def only_readout_trains(self) -> bool:
        """Whether all but the readout is frozen at the sites, so that what it is given is computed once and kept."""
        return self.privacy.trainable == "readout"

    def digest(self) -> str:
        """SHA-256 of the canonical JSON form; what a hospital approves."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def canonical_json(self) -> str:
        """Sorted, compact JSON: equal studies have equal bytes.

        A field marked `AS_BEFORE` stands in it only where it says something else than its default: studies that were
        approved before the field was added keep their digest. All other fields always stand in it, so that a default
        that changes changes the digest of every study that rests on it.
        """
        content = self.model_dump(mode="json")
        _leave_out_as_before(self, content)
        return json.dumps(content, sort_keys=True, separators=(",", ":"))


def _leave_out_as_before(value: BaseModel, content: dict[str, Any]) -> None:
    for name, field in type(value).model_fields.items():
        part = getattr(value, name)
        if field.json_schema_extra == AS_BEFORE and part == field.get_default():
            del content[name]
        elif isinstance(part, BaseModel):
            _leave_out_as_before(part, content[name])
