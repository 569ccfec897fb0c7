"""What the audit store holds: every kind of record, field by field.

In: values that server code measured on public data, and what sites released through their doors. Out: one frozen,
checked form for each kind. A record never holds an image, a label or an identifier of a hospital's patient. A new
kind is one class here, one entry in `AnyBody` and one projection.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from server.metrics.gate_result import Check
from server.metrics.intervals import Interval
from shared.config.study import StudyConfig
from shared.config.values import Digest, Frozen
from shared.messages.release_kinds import LedgerStatement, SiteName, Versions

Subject = Literal["teacher", "student", "explainer", "random", "centre"]
# the student's map less the teacher's on the same images, or less the student's own of the measured round before
Difference = Literal["student-teacher", "student-before"]
Outcome = Annotated[str, Field(max_length=300)]
Number = Annotated[int, Field(ge=0, le=2**31 - 1)]  # what PostgreSQL's integer holds
Bytes = Annotated[int, Field(ge=0, le=2**53)]
Name = Annotated[str, Field(max_length=200)]  # what tables are indexed by
EVERY = "all"  # the class or the source of a map or figure that is of all of them


class Body(Frozen):
    """What one record says."""

    @property
    def named_blobs(self) -> tuple[Digest, ...]:
        """Digests of the blobs that the record names; a store takes it once it has them."""
        return ()


class StudyBody(Body):
    """A study began, or began again: what all sites agreed on."""

    kind: Literal["study"] = "study"
    config: StudyConfig
    simulation: bool
    code_digest: Digest
    versions: dict[str, str] = Field(default_factory=dict)


class DataBody(Body):
    """What a report must say of the public data of a study."""

    kind: Literal["data"] = "data"
    data_kind: Literal["real", "made"]
    name: str
    notes: tuple[str, ...] = ()
    attribution: str = ""


class StatusBody(Body):
    """How a study stands; `why` is the sentence of a failure."""

    kind: Literal["status"] = "status"
    state: Literal["running", "completed", "failed", "stopped"]
    why: str = ""


class SiteBody(Body):
    """A site enrolled: what it declared and runs."""

    kind: Literal["site"] = "site"
    site: SiteName
    declared_patients: Number
    code_digest: Digest
    versions: Versions = Field(default_factory=dict)


class RoundBody(Body):
    """A round closed: who took part, who did not and why, and the merged student's figures on public test images."""

    kind: Literal["round"] = "round"
    round: Number
    answered: tuple[Name, ...] = ()
    missing: dict[Name, Outcome] = Field(default_factory=dict)
    asked_again: tuple[str, ...] = ()
    epsilon: dict[str, float | None] = Field(default_factory=dict)
    num_bytes: dict[str, Bytes] = Field(default_factory=dict)
    seconds: float | None = None
    auc: Interval | None = None
    mask_area: float | None = None


class ReleaseBody(Body):
    """A site's answer arrived and was accepted, or not: `outcome` is `accepted` or the reason."""

    kind: Literal["release"] = "release"
    site: SiteName
    round: Number
    release: str
    num_bytes: Bytes
    outcome: Outcome


class StatementBody(Body):
    """A site's ledger statement; `follows` tells whether its head follows the one remembered (None: the first)."""

    kind: Literal["statement"] = "statement"
    round: Number
    statement: LedgerStatement
    follows: bool | None


class EventBody(Body):
    """Something worth knowing happened."""

    kind: Literal["event"] = "event"
    event: str
    round: Number | None = None
    site: str = ""
    what: str = ""
    details: dict[str, Any] = Field(default_factory=dict)


class Figure(Frozen):
    """One measured number with its interval.

    `name` is the quantity (`auc`, `recall`, `lift`, `insertion`, a key of `FIGURES` of the audit), `subject` the model
    or pair of models (`federated_private`, `federated_private-warm_start`, `student`), `label` the class and `source`
    the site of origin of the public images, both `all` where it is of all.
    """

    name: Name
    subject: Name
    label: Name = EVERY
    source: Name = EVERY
    interval: Interval


class FiguresBody(Body):
    """Figures of one kind: of the test set (`evaluation`), of the reference set (`audit`), or probes to come."""

    kind: Literal["figures"] = "figures"
    of: Literal["evaluation", "audit", "drift", "shortcut"]
    figures: tuple[Figure, ...]


class DocumentBody(Body):
    """A document of the run, whole: `summary` (summary.json), `model_card` (model_card.json), `audit`, `membership`."""

    kind: Literal["document"] = "document"
    name: Literal["summary", "audit", "membership", "model_card"]
    document: dict[str, Any]


class Grid(Frozen):
    """Values of a map, row by row, as share of its energy times the number of cells: 1 is uniform.

    Where cells are not alike, as at the rim of a frame, it is share of energy over share of the image's area.
    `low` and `high` are 95 percent intervals of each cell, corrected for the number of cells, resampling patients.
    `std` is each cell's standard deviation between patients.
    """

    rows: int = Field(ge=1, le=64)
    columns: int = Field(ge=1, le=64)
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class MapBody(Body):
    """A mean map over reference images, or a private sum over a site's audit patients (`site_release`).

    `round` None is the final student. `noise_std` is the privacy noise of each value, None where none was added.
    The values of a difference are around 0, and their intervals resample patients with both maps of each.
    """

    kind: Literal["map"] = "map"
    subject: Subject | Difference
    label: Name = EVERY
    source: Name = EVERY
    round: Number | None = None
    site_release: bool = False
    num_images: Number
    num_patients: Number
    num_without_evidence: Number = 0
    noise_std: float | None = None
    epsilon: float | None = None
    grid: Grid | None = Field(description="None: no positive evidence on any image")
    frame: Name = "image"


class FilmBody(Body):
    """What maps are laid over: the mean of reference films in one frame, and outlines of regions.

    `film` and `outlines` are blobs: a grey PNG, and an SVG path for each region in coordinates from 0 to 1.
    """

    kind: Literal["film"] = "film"
    frame: Name = "image"
    source: Name = EVERY
    film: Digest
    num_images: Number
    outlines: dict[str, str] = Field(default_factory=dict)
    laterality: str = ""

    @property
    def named_blobs(self) -> tuple[Digest, ...]:
        """Return the film."""
        return (self.film,)


class ImageBody(Body):
    """One public reference image with its maps; `rank` 1 is the worst. Blobs are grey PNGs."""

    kind: Literal["image"] = "image"
    key: Name
    rank: Number = Field(ge=1)
    patient: Number
    source: Name
    true_class: Name
    predicted_class: Name
    film: Digest
    region: Digest | None = None
    lesions: Digest | None = None
    maps: dict[Subject, Grid | None] = Field(default_factory=dict)
    figures: dict[str, float | None] = Field(default_factory=dict)

    @property
    def named_blobs(self) -> tuple[Digest, ...]:
        """Return the film and the masks that there are."""
        return tuple(one for one in (self.film, self.region, self.lesions) if one is not None)


class GateBody(Body):
    """The automatic verdict with its checks."""

    kind: Literal["gate"] = "gate"
    verdict: Literal["accepted", "held"]
    sentence: str
    checks: tuple[Check, ...]


class ModelBody(Body):
    """The student that came out: digest of its weights file, which is a blob, and what the model is."""

    kind: Literal["model"] = "model"
    weights: Digest
    num_bytes: Bytes
    facts: dict[str, Any] = Field(default_factory=dict)

    @property
    def named_blobs(self) -> tuple[Digest, ...]:
        """Return the weights."""
        return (self.weights,)


class DecisionBody(Body):
    """A person accepted, held or withdrew a student, bound to the digest of the evidence that the page showed.

    `own_view` is what the person thought before the automatic verdict was shown.
    """

    kind: Literal["decision"] = "decision"
    person: str
    role: str
    action: Literal["accept", "hold", "withdraw"]
    reason: str = Field(min_length=1, max_length=4000)
    evidence: Digest
    own_view: Literal["accept", "hold", "undecided", ""] = ""


class OpinionBody(Body):
    """What an auditor thought of a student before the automatic verdict was shown to them; it decides nothing."""

    kind: Literal["opinion"] = "opinion"
    person: str
    role: str
    view: Literal["accept", "hold", "undecided"]
    evidence: Digest


class PersonBody(Body):
    """Something about a person's account: login, logout, refused login, new account, another role."""

    kind: Literal["person"] = "person"
    person: str
    what: str
    by: str = ""
    address: str = ""


class IncidentBody(Body):
    """Evidence did not arrive as it should: a changed record, a gap, a broken chain."""

    kind: Literal["incident"] = "incident"
    source: str
    what: str


AnyBody = Annotated[
    StudyBody | DataBody | StatusBody | SiteBody | RoundBody | ReleaseBody | StatementBody | EventBody | FiguresBody
    | DocumentBody | MapBody | FilmBody | ImageBody | GateBody | ModelBody | DecisionBody | OpinionBody | PersonBody
    | IncidentBody,
    Field(discriminator="kind"),
]  # fmt: skip
OWN: Final = ("decision", "opinion", "person", "incident")  # what the hub itself says; no other source may
EVIDENCE: Final = (
    "study",
    "data",
    "statement",
    "figures",
    "document",
    "map",
    "film",
    "image",
    "gate",
    "model",
)
