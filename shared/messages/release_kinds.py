"""The declared kinds of release: everything that may ever leave a hospital, field by field.

In: values of one release. Out: one frozen, checked form for each kind. A new kind is one entry here, in
`shared.config.kinds`, and in `shared.messages.stages`. No field holds a cohort size, a loss, a norm, a path,
an identifier or free text.
"""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from shared.config.kinds import Partition
from shared.config.values import ArrayType, Digest, Frozen
from shared.errors import ErrorCode
from shared.privacy.mechanisms import MechanismCount

StudyUid = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
SiteName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")]
ArrayName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,200}$")]
Versions = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,40}$")],
        Annotated[str, Field(pattern=r"^[A-Za-z0-9.+_-]{1,40}$")],
    ],
    Field(max_length=20),
]


class Fields(Frozen):
    """The fields of one kind; `array_limit` bounds the size of every array value, 0 allows no arrays."""

    array_limit: ClassVar[float] = 0.0

    @property
    def array_type(self) -> ArrayType:
        """Type of the array values on their way; in memory they are float32 at both ends."""
        return "float32"

    @property
    def base(self) -> str | None:
        """Digest of the weights that the answer was made from; None for what rests on none."""
        return None


class EnrolmentRelease(Fields):
    """A site takes part; `declared_patients` is the number a person typed, never a count."""

    kind: Literal["enrolment"] = "enrolment"
    site: SiteName
    study_digest: Digest
    code_digest: Digest
    versions: Versions
    declared_patients: int = Field(ge=1, le=10**9)


class UpdateRelease(Fields):
    """One round's difference after private steps: one array for each trained parameter."""

    array_limit: ClassVar[float] = 1e6
    kind: Literal["update"] = "update"
    base_sha256: Digest
    values: ArrayType = "float32"

    @property
    def array_type(self) -> ArrayType:
        """The type that the study asks for."""
        return self.values

    @property
    def base(self) -> str:
        """The weights that the steps began at."""
        return self.base_sha256


class EvaluationRelease(Fields):
    """Counts of a site's evaluation patients, one noised array for each table."""

    array_limit: ClassVar[float] = 1e9
    kind: Literal["evaluation"] = "evaluation"
    student_sha256: Digest
    noise_std: float = Field(ge=0, le=1e9)

    @property
    def base(self) -> str:
        """The student that was looked at."""
        return self.student_sha256


class RegionsRelease(Fields):
    """Sums of bounded region energies over a site's audit patients, noised."""

    array_limit: ClassVar[float] = 1e9
    kind: Literal["regions"] = "regions"
    student_sha256: Digest
    noise_std: float = Field(ge=0, le=1e9)

    @property
    def base(self) -> str:
        """The student that was looked at."""
        return self.student_sha256


class MapsRelease(Fields):
    """Sums of bounded explanation maps over a site's audit patients, noised."""

    array_limit: ClassVar[float] = 1e9
    kind: Literal["maps"] = "maps"
    student_sha256: Digest
    noise_std: float = Field(ge=0, le=1e9)

    @property
    def base(self) -> str:
        """The student that was looked at."""
        return self.student_sha256


class StatusRelease(Fields):
    """What a site runs."""

    kind: Literal["status"] = "status"
    code_digest: Digest
    versions: Versions


# what a ledger adds up: a hospital's all runs, or in a simulation one fresh run or all runs of a kept ledger
Span = Literal["all runs", "this run alone (simulation)", "all runs of this ledger (simulation)"]
THIS_RUN_ALONE: Final = "this run alone (simulation)"
KEPT_SIMULATION: Final = "all runs of this ledger (simulation)"


class PartitionSpend(Frozen):
    """What all releases together spent on one patient of a partition; None means that no guarantee holds."""

    partition: Partition
    epsilon: float | None = Field(ge=0)
    pld_epsilon: float | None = Field(ge=0, description="the same by an independent accountant")
    accountant: str = Field(pattern=r"^[a-z :+]{1,60}$")
    mechanisms: tuple[MechanismCount, ...] = Field(max_length=10_000)


class LedgerStatement(Fields):
    """The privacy a site has spent, in public parameters only; `epsilon` is the largest of the partitions.

    A patient's partition never changes, so the spends of different partitions fall on different patients.
    """

    kind: Literal["ledger_statement"] = "ledger_statement"
    site: SiteName
    head_seq: int = Field(ge=0)
    head_hash: Digest
    epsilon: float | None = Field(ge=0, description="None: no guarantee holds")
    delta: float = Field(gt=0, lt=1)
    partitions: tuple[PartitionSpend, ...] = Field(max_length=3)
    cap_epsilon: float | None = Field(default=None, gt=0, description="only where the hospital shows it")
    unit: Literal["patient"] = "patient"
    adjacency: Literal["add or remove one patient"] = "add or remove one patient"
    sampling: Literal["Poisson"] = "Poisson"
    trust_model: Literal["against the server and the other sites, malicious in every message"] = (
        "against the server and the other sites, malicious in every message"
    )
    span: Span


class ErrorRelease(Fields):
    """A refusal or failure: a fixed code and nothing else."""

    kind: Literal["error"] = "error"
    code: ErrorCode


AnyFields = (
    EnrolmentRelease | UpdateRelease | EvaluationRelease | RegionsRelease | MapsRelease | StatusRelease
    | LedgerStatement | ErrorRelease
)  # fmt: skip
