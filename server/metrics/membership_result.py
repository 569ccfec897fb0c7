"""What a released student told of who trained it: one frozen value, the schema of membership.json.

In: figures that `server/metrics/membership.py` computed on made hospitals, whose patients are nobody's. Out: what
report, card and dashboard show. Of a real hospital nothing of the kind can be measured: its patients never leave it.
"""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from server.metrics.intervals import Interval
from shared.config.values import Digest, Frozen

FILE: Final = "membership.json"
AttackName = Literal["loss", "lira", "rmia"]
ModelName = Literal[
    "released",
    "without_privacy",
    "other_patients",
    "other_patients_without_privacy",
    "warm_start",
    "memorised",
]
LEVEL: Final = 0.01  # share of non-members that may be called members


class Rate(Frozen):
    """A share of patients with its exact 95 % interval."""

    hits: int = Field(ge=0)
    n: int = Field(ge=1)
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.n


class EpsilonSeen(Frozen):
    """What one run shows of epsilon: at least `at_least` with 95 % confidence, of at most `ceiling` with such numbers.

    `guesses` were made, `right` of them right; the others of `candidates` patients were passed over.
    """

    at_least: float = Field(ge=0)
    ceiling: float = Field(ge=0)
    candidates: int
    guesses: int
    right: int


class Attack(Frozen):
    """One attack on one model; what is None was not measured, `reason` says why."""

    attack: AttackName
    num_members: int
    num_non_members: int
    auc: Interval
    level: float | None = None  # the share of non-members above the threshold
    true_positive: Rate | None = None  # members above it; the interval pays for both samples
    epsilon_seen: EpsilonSeen | None = None
    reason: str = ""

    @property
    def is_at_level(self) -> bool:
        """Whether the rate of true positives stands at 1 % false positives, as a reader expects."""
        return self.true_positive is not None and self.level == LEVEL


class AttackedModel(Frozen):
    """One model under every attack; `epsilon` is the most that a ledger says it spent on a member, None: no bound.

    It is 0 for a model that saw none of the members.
    """

    model: ModelName
    epsilon: float | None = None
    num_references: int
    attacks: tuple[Attack, ...]


class Membership(Frozen):
    """Everything measured: the released student first, then what it must be compared with."""

    student: Digest  # the weights that `released` is of; figures of other weights are not this run's
    data: str
    views: int
    models: tuple[AttackedModel, ...]
    seconds: float | None = None


def read_membership(run_dir: Path, student: str | None) -> Membership | None:
    """Return what was measured of this student; None without a file, or where it is of other weights."""
    try:
        found = Membership.model_validate_json((run_dir / FILE).read_bytes())
    except (OSError, ValidationError):
        return None
    return found if found.student == student else None


def write_membership(run_dir: Path, found: Membership) -> Path:
    """Write membership.json and return its path."""
    path = run_dir / FILE
    path.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return path
