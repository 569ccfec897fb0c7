"""A hospital's own rules: one validated, frozen value that is never sent.

Fields that change the guarantee or what may leave stand apart from those that only change speed (`compute`).
"""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from shared.config.kinds import ReleaseKind
from shared.config.site_data import SiteData
from shared.config.study import StudyConfig
from shared.config.values import FEWEST_EXPECTED, Delta, Digest, Epsilon, Setting
from shared.errors import ConfigError

FAR_ABOVE, FAR_BELOW = 1.25, 0.5  # real over declared patients, where the declared number no longer serves
SITE_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$"
HUB_ADDRESS = r"^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}$"
SiteName = Annotated[str, Field(pattern=SITE_NAME)]
HubAddress = Annotated[str, Field(pattern=HUB_ADDRESS, description="host:port")]


class Cap(Setting):
    """The most a hospital lets all runs together spend on one patient."""

    epsilon: float = Field(10.0, gt=0)
    delta: float = Field(1e-5, gt=0, lt=1)


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
        description="when answers leave: auto is a forecast from public numbers (client.rounds.answer_time), off is as "
        "soon as they are ready, which tells roughly how large the site is and whether anybody is new",
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
                    f"private_dp_spend has no (epsilon, delta) for {digest}, which accepted_digests lists as "
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
