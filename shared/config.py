"""What a study and a site are configured with: two validated, frozen values.

`StudyConfig` is what all sites agree on; its digest is in every record and every message. `SiteConfig` is
the hospital's own and is never sent. Fields under `privacy` and `federation` that change the guarantee
stand apart from those that only change speed (`SiteConfig.compute`).
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from shared.errors import ConfigError

T = TypeVar("T", bound=BaseModel)
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Epsilon = Annotated[float, Field(ge=0)]
Delta = Annotated[float, Field(ge=0, lt=1)]
Method = Literal["supervised", "kd", "hybrid", "medtex", "rounds"]
TrainableSet = Literal["head", "scales", "last", "all"]
ReleaseKind = Literal[
    "enrolment", "update", "evaluation", "regions", "maps", "status", "ledger_statement", "error"
]


class Frozen(BaseModel):
    """A value that is checked once and never changes; unknown fields are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False)


class Task(Frozen):
    """What is classified, and at what size."""

    classes: tuple[str, ...] = Field(min_length=2, max_length=64)
    image_size: int = Field(64, ge=32, le=512, multiple_of=32, description="side of the square input, pixels")
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


class TeacherChoice(Frozen):
    """A frozen timm classifier by name; `sha256` names its weights file."""

    name: str = "vgg19"
    sha256: Digest | None = None


class Subnet(Frozen):
    """A sub-network of the w1.2 OFA supernet: kernel and expand ratio of each of 20 slots, depth of 5 stages."""

    kernels: tuple[Literal[3, 5, 7], ...] = Field(min_length=20, max_length=20)
    expand_ratios: tuple[Literal[3, 4, 6], ...] = Field(min_length=20, max_length=20)
    depths: tuple[Literal[2, 3, 4], ...] = Field(min_length=5, max_length=5)


class StudentChoice(Frozen):
    """OFA-595 or another sub-network of its supernet; no BatchNorm trains under privacy."""

    architecture: Literal["ofa595"] | Subnet = "ofa595"
    normalisation: Literal["group", "frozen"] = "group"


class ExplainerChoice(Frozen):
    """The light U-Net that draws the mask on a grid of image_size / stride."""

    width: int = Field(16, ge=4, le=64, description="channels of its first stage")
    stride: Literal[4, 8, 16] = 8


class Models(Frozen):
    """Teacher, student and explainer; `initial_sha256` names the warm-started compact model."""

    teacher: TeacherChoice = TeacherChoice()
    student: StudentChoice = StudentChoice()
    explainer: ExplainerChoice = ExplainerChoice()
    initial_sha256: Digest | None = None


class Weights(Frozen):
    """Weights on the terms of the objective (design: Method); None keeps the method's own value."""

    alpha: float | None = Field(None, ge=0, le=1, description="share of the hard labels")
    temperature: float | None = Field(None, gt=0, le=20)
    feature: float | None = Field(None, ge=0, description="f, MED-TEX's mutual-information term")
    area: float | None = Field(None, ge=0, description="a, hinge on the mean of the mask")
    total_variation: float | None = Field(None, ge=0, description="v")
    teacher_on_masked: float | None = Field(None, ge=0, description="d, warm start only")
    teacher_on_complement: float | None = Field(None, ge=0, description="c, warm start only")


class Distillation(Frozen):
    """The objective: a method is a named set of weights on the same terms."""

    method: Method = "rounds"
    weights: Weights = Weights()
    mask_area: float = Field(0.5, gt=0, le=1, description="share of the image the mask may keep for free")
    fill: Literal["zero", "blur"] = "zero"
    num_views: int = Field(2, ge=1, le=16, description="K deterministic views of a patient")
    views_per_step: int = Field(1, ge=1, le=16, description="views drawn by the patient's own coin each step")

    @model_validator(mode="after")
    def _no_more_than_there_are(self) -> Self:
        if self.views_per_step > self.num_views:
            raise ValueError(f"views_per_step must be at most num_views ({self.num_views})")
        return self


class WarmStart(Frozen):
    """Distillation on the public cohort before round 1."""

    epochs: int = Field(8, ge=0, le=1000)
    batch_size: int = Field(16, ge=2, le=1024)
    learning_rate: float = Field(1e-3, gt=0, le=1)
    teacher_in_loop_every: int = Field(4, ge=1, description="batches between steps with the d and c terms")


class Privacy(Frozen):
    """The claim of one site: (epsilon, delta) for all records of one patient, add or remove."""

    enabled: bool = True
    epsilon: float = Field(8.0, gt=0, le=100)
    delta: float = Field(1e-5, gt=0, lt=1e-2)
    sample_rate: float = Field(0.1, gt=0, le=1)
    max_grad_norm: float = Field(1.0, gt=0)
    noise_multiplier: float | None = Field(None, gt=0, description="None: calibrated with PRV from the rest")
    trainable: TrainableSet = "scales"


class Federation(Frozen):
    """Rounds, steps and who must answer."""

    rounds: int = Field(4, ge=1, le=10_000)
    steps: int = Field(10, ge=1, le=100_000, description="private steps a site takes in one round")
    learning_rate: float = Field(0.5, gt=0)
    momentum: float = Field(0.0, ge=0, lt=1, description="resets at every round")
    quorum: int = Field(2, ge=1, description="sites that must answer for a round to count")
    min_sites: int = Field(2, ge=1, description="sites that must enrol for the study to begin")
    enrolment_seconds: float = Field(300, gt=0)
    deadline_seconds: float = Field(600, gt=0)
    reply_after_seconds: float | None = Field(None, gt=0)
    evaluate_sites: bool = Field(False, description="ask each site for noised counts after the last round")
    evaluation_noise_multiplier: float = Field(4.0, gt=0)


class Audit(Frozen):
    """The central audit and the gate's thresholds, chosen before anything is seen."""

    num_images: int = Field(24, ge=1)
    teacher_channels: int = Field(64, ge=1, description="highest-energy channels for the teacher's map")
    min_auc: float = Field(0.6, ge=0, le=1)
    min_lung_lift_ratio: float = Field(
        1.0, ge=0, description="region energy over area, divided by that of a random map"
    )
    max_mask_area: float = Field(0.95, gt=0, le=1, description="above this the mask is the identity")


class Public(Frozen):
    """Digests of the three public sets; overlap of their patients is refused."""

    cohort_sha256: Digest | None = None
    reference_sha256: Digest | None = None
    test_sha256: Digest | None = None


class StudyConfig(Frozen):
    """Everything that all sites agree on."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
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

    def digest(self) -> str:
        """SHA-256 of the canonical JSON form; what a hospital approves."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()

    def canonical_json(self) -> str:
        """Sorted, compact JSON: equal studies have equal bytes."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))


class Cap(Frozen):
    """The most a hospital lets all runs together spend on one patient."""

    epsilon: float = Field(10.0, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)


class SiteData(Frozen):
    """Where the images are: a manifest CSV, a folder of class folders, or a MedMNIST .npz file."""

    source: Path
    site: str | None = Field(None, description="keep only the manifest's rows of this site")
    label_map: dict[str, str] = Field(
        default_factory=dict, description="label in the data: class of the study"
    )
    max_unreadable: float = Field(
        0.02, ge=0, le=1, description="share of unreadable images past which we stop"
    )


class Compute(Frozen):
    """Changes speed and memory, never the result."""

    device: str = "cpu"
    threads: int = Field(1, ge=1)
    patients_per_chunk: int = Field(16, ge=1)


class SiteConfig(Frozen):
    """The hospital's own rules; this file never leaves."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")
    data: SiteData
    declared_patients: int = Field(
        ge=1, description="training patients as a person declares them, never a count"
    )
    cap: Cap = Cap()
    show_cap: bool = False
    allow_releases: tuple[ReleaseKind, ...] = (
        "enrolment",
        "update",
        "ledger_statement",
        "status",
        "error",
    )
    accepted_digests: dict[Digest, Literal["public", "private-dp"]] = Field(default_factory=dict)
    private_dp_spend: dict[Digest, tuple[Epsilon, Delta]] = Field(
        default_factory=dict, description="(epsilon, delta) already spent by a private-dp weights file"
    )
    approved_studies: tuple[Digest, ...] | Literal["any-in-simulation"] = ()
    allow_without_privacy: bool = False
    weights_dir: Path
    state_dir: Path
    head_file: Path
    compute: Compute = Compute()

    @model_validator(mode="after")
    def _delta_fits_patients(self) -> Self:
        check_delta(self.cap.delta, self.declared_patients, "cap.delta")
        return self

    @model_validator(mode="after")
    def _private_weights_have_a_spend(self) -> Self:
        for digest, kind in self.accepted_digests.items():
            if kind == "private-dp" and digest not in self.private_dp_spend:
                raise ValueError(
                    f"private_dp_spend has no (epsilon, delta) for {digest[:12]}, which accepted_digests lists as "
                    "private-dp; add what these weights spent"
                )
        return self


def check_delta(delta: float, declared_patients: int, field: str) -> None:
    """Refuse a delta above 1 / (10 x declared patients): it would allow giving one patient away."""
    allowed = 1 / (10 * declared_patients)
    if delta > allowed:
        raise ValueError(
            f"{field} is {delta:g}, allowed is at most {allowed:.3g} (1 / (10 x {declared_patients} declared "
            "patients)); lower it"
        )


def check_sampling(study: StudyConfig, declared_patients: int) -> None:
    """Refuse a sample rate that makes no sense for a site of the declared size (fewer than 2 a step)."""
    expected = study.privacy.sample_rate * declared_patients
    if expected < 2:
        raise ConfigError(
            f"privacy.sample_rate is {study.privacy.sample_rate:g}: with {declared_patients} declared patients "
            f"a step would expect {expected:.1f}, allowed is at least 2; raise it to "
            f"{min(1.0, 2 / declared_patients):.3g} or more"
        )


def overridden(study: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a raw study with fields set by dotted name; an empty value leaves the field alone."""
    result: dict[str, Any] = json.loads(json.dumps(study, default=str))
    for dotted, value in overrides.items():
        if value == "":
            continue
        *parents, leaf = dotted.split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{dotted}: {parent} is not a group of fields; use a field's full name")
        node[leaf] = value
    return result


def parse_study(raw: Mapping[str, Any], origin: str = "study") -> StudyConfig:
    """Validate a raw study; a mistake becomes one `ConfigError` naming field, value and what is allowed."""
    return _parsed(StudyConfig, raw, origin)


def parse_site(raw: Mapping[str, Any], origin: str = "site") -> SiteConfig:
    """Validate a raw site; a mistake becomes one `ConfigError` naming field, value and what is allowed."""
    return _parsed(SiteConfig, raw, origin)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML; check that it exists and is valid") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: holds {type(raw).__name__}, allowed is a mapping of fields; see deploy/")
    return raw


def write_yaml(path: Path, value: BaseModel) -> None:
    """Write a configuration so that `read_yaml` and its parser give it back."""
    path.write_text(yaml.safe_dump(value.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def _parsed(kind: type[T], raw: Mapping[str, Any], origin: str) -> T:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole file"
        value = first.get("input")
        shown = "" if isinstance(value, Mapping) else f" is {value!r}"
        more = error.error_count() - 1
        others = f" ({more} more to correct after it)" if more else ""
        raise ConfigError(f"{origin}: {field}{shown}: {first['msg']}{others}") from error
