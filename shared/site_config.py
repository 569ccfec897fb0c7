"""A hospital's own rules: one validated, frozen value that is never sent.

Fields that change the guarantee or what may leave stand apart from those that only change speed (`compute`).
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.config import FEWEST_EXPECTED, Delta, Digest, Epsilon, Setting, StudyConfig
from shared.data.records import TextRule
from shared.errors import ConfigError

ReleaseKind = Literal[
    "enrolment", "update", "evaluation", "regions", "maps", "status", "ledger_statement", "error"
]

SITE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"
HUB_ADDRESS = r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}$"
SiteName = Annotated[str, Field(pattern=SITE_NAME)]
HubAddress = Annotated[str, Field(pattern=HUB_ADDRESS, description="host:port")]


class Cap(Setting):
    """The most a hospital lets all runs together spend on one patient."""

    epsilon: float = Field(10.0, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)


class DicomData(Setting):
    """How DICOM files get their labels, which of them count, and what is done about text burned into them.

    Labels come from a CSV (`labels`, found by `label_key`) or from one tag by rule (`label_tag`, `label_rules`). A
    pattern holds * for any characters; upper and lower case are the same. Relative paths start at the source folder.
    """

    labels: Path | None = Field(None, description="CSV with the columns label and label_key")
    label_key: Literal["sop_instance_uid", "accession_number"] = "sop_instance_uid"
    label_tag: str | None = Field(None, description="keyword such as StudyDescription, or 0008,1030")
    label_rules: dict[str, str] = Field(
        default_factory=dict, description="pattern of the tag's value: label; the first that fits counts"
    )
    keep: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="tag: patterns, one of which must fit, such as ViewPosition: [PA, AP]",
    )
    text: TextRule = Field(
        "refuse",
        description="refuse flagged and suspected burned-in text, only flagged (refuse_flagged), or none",
    )
    reviewed: Path | None = Field(
        None, description="file with a path a line: pictures a person has looked at, whose text names nobody"
    )

    @model_validator(mode="after")
    def _labels_have_one_origin(self) -> Self:
        if (self.labels is None) == (self.label_tag is None):
            given = "neither" if self.labels is None else "both"
            raise ValueError(
                f"labels and label_tag: {given} given, allowed is one of them; correct data.dicom"
            )
        if (self.label_tag is None) == bool(self.label_rules):
            raise ValueError(
                f"label_rules has {len(self.label_rules)} rules and label_tag is {self.label_tag!r}, needed are "
                "both or neither; correct data.dicom"
            )
        return self

    @model_validator(mode="after")
    def _tags_are_known(self) -> Self:
        for field, name in (("label_tag", self.label_tag), *(("keep", one) for one in self.keep)):
            if name is not None and tag_number(name) is None:
                raise ValueError(
                    f"{field} is {name!r}, allowed is a DICOM keyword such as StudyDescription or a number such as "
                    "0008,1030; correct it"
                )
        empty = [name for name, patterns in self.keep.items() if not patterns]
        if empty:
            raise ValueError(
                f"keep has no pattern for {empty[0]}, needed is at least one; add it or remove the tag"
            )
        return self


def tag_number(name: str) -> int | None:
    """Return the number of a DICOM tag by keyword or by its eight hexadecimal digits; None when it is neither."""
    from pydicom.datadict import tag_for_keyword  # noqa: PLC0415 - takes half a second; few sites name a tag

    number = tag_for_keyword(name)
    digits = re.sub(r"[(),\s]", "", name)
    return (
        number if number is not None else int(digits, 16) if re.fullmatch(r"[0-9A-Fa-f]{8}", digits) else None
    )


class SiteData(Setting):
    """Where the images are: a manifest, class folders, or with `dicom` a folder or list of DICOM."""

    source: Path
    dicom: DicomData | None = None
    site: str | None = Field(None, description="keep only the manifest's rows of this site")
    label_map: dict[str, str] = Field(
        default_factory=dict, description="label in the data: class of the study"
    )
    max_unreadable: float = Field(
        0.02, ge=0, le=1, description="share of unreadable images past which we stop"
    )


class Compute(Setting):
    """Changes speed and memory, never the result beyond rounding."""

    device: str = Field(
        "cpu", description="cpu, auto (a GPU where torch finds one, else cpu), cuda, or cuda:N"
    )
    gpu_memory_fraction: float = Field(
        1.0, gt=0, le=1, description="most of the GPU's memory that one request may take"
    )
    threads: int = Field(
        1, ge=1, description="for the teacher's targets; private steps and counts always compute on one"
    )
    patients_per_chunk: int = Field(16, ge=1)

    @field_validator("device")
    @classmethod
    def _device_is_known(cls, device: str) -> str:
        if not re.fullmatch(r"cpu|auto|cuda(:\d{1,2})?", device):
            raise ValueError("allowed are cpu, auto (a GPU where there is one), cuda and cuda:N; correct it")
        return device


class Hub(Setting):
    """The hub that this site dials, and whose certificates it believes; filled in by `rounds-site join`."""

    address: HubAddress
    ca_file: Path = Field(description="certificate of the federation's own CA; no other CA is believed")


class SiteConfig(Setting):
    """The hospital's own rules; this file never leaves."""

    name: SiteName
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
    reply_after_seconds: Literal["auto", "off"] | Annotated[float, Field(gt=0, le=86_400)] = Field(
        "auto",
        description="when answers leave: auto is a forecast from public numbers (client.answer_time), off is as soon "
        "as they are ready, which tells roughly how large the site is and whether anybody is new",
    )
    max_enrolments: int = Field(
        8,
        ge=1,
        le=10_000,
        description="how often one study may let its enrolment look at the patients, over all its runs: whether a site "
        "is ready may hang on one of them; raised by the hospital alone",
    )
    weights_dir: Path
    state_dir: Path
    head_file: Path
    keys_dir: Path | None = Field(None, description="node.key and approval.key, made by `rounds-site init`")
    hub: Hub | None = None
    compute: Compute = Compute()

    @field_validator("reply_after_seconds", mode="before")
    @classmethod
    def _reply_time_is_a_word_or_a_number(cls, value: object) -> object:
        if value is False:  # what YAML reads for a plain off
            return "off"
        if isinstance(value, bool) or (isinstance(value, str) and value not in {"auto", "off"}):
            raise ValueError("allowed are auto, off and a number of seconds; correct it")
        return value

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


def check_site_name(name: str, where: str) -> None:
    """Refuse a name that no site.yaml may hold; `where` says where a person corrects it."""
    if not re.fullmatch(SITE_NAME, name):
        raise ConfigError(
            f"site is {name!r}, allowed are 1 to 40 letters (a to z), digits, - and _, the first a letter or a digit; "
            f"rename it in {where}"
        )


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
    if expected < FEWEST_EXPECTED:
        raise ConfigError(
            f"privacy.sample_rate is {study.privacy.sample_rate:g}: with {declared_patients} declared patients "
            f"a step would expect {expected:.1f}, allowed is at least {FEWEST_EXPECTED}; raise it to "
            f"{min(1.0, FEWEST_EXPECTED / declared_patients):.3g} or more"
        )


def check_declared(study: StudyConfig, declared_patients: int, site: str) -> None:
    """Refuse a study that a site of the declared size would refuse: `ConfigError` with the site's name."""
    if not study.privacy.enabled:
        return
    try:
        check_sampling(study, declared_patients)
        check_delta(study.privacy.delta, declared_patients, "privacy.delta")
    except (ConfigError, ValueError) as error:
        raise ConfigError(f"site {site} would refuse the study: {error}") from error
