"""What came out of a run: one frozen value, the schema of summary.json.

In: figures that server code measured on public data, and what sites released through their doors. Out:
`summary.json`, from which report, model card and comparisons are made. Nothing of a patient is in it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, Literal, TypeVar

from pydantic import Field, ValidationError

from server.metrics.audit_result import AuditResult
from server.metrics.gate_result import GateResult
from server.metrics.intervals import Interval
from server.metrics.measured import Calibrated, Metrics, ModelFacts
from server.metrics.membership_result import Membership
from server.presentation.model_names import MODEL_NAMES, model_name
from shared.config.study import Privacy
from shared.config.values import Frozen
from shared.errors import StudyError
from shared.messages.release_kinds import LedgerStatement

Value = TypeVar("Value", Interval, Metrics)


class ByModel(Frozen, Generic[Value]):
    """One figure for each model that was measured; absent models are None or missing."""

    teacher: Value | None = None
    warm_start: Value | None = None
    federated_private: Value | None = None
    federated: Value | None = None
    central: Value | None = None
    trivial: Value | None = None
    site_alone: dict[str, Value] = Field(default_factory=dict)
    site_alone_without_privacy: dict[str, Value] = Field(default_factory=dict)
    methods: dict[str, Value] = Field(default_factory=dict)

    @property
    def main_key(self) -> Literal["federated_private", "federated"]:
        """Which model is the study's own student: the private one, or with privacy off the one without."""
        return "federated" if self.federated_private is None else "federated_private"

    @property
    def main(self) -> Value | None:
        """The figure of the study's own student."""
        return self.federated if self.federated_private is None else self.federated_private

    def named(self) -> Iterator[tuple[str, str, Value]]:
        """Yield (key, name for a reader, value) of everything measured, in the order of a report."""
        for key, value in self.measured():
            yield key, model_name(key), value

    def measured(self) -> Iterator[tuple[str, Value]]:
        """Yield (key, value) of everything measured, in the order of a report."""
        for key in MODEL_NAMES:
            value: Value | None = getattr(self, key)
            if value is not None:
                yield key, value
        for site, value in sorted(self.site_alone.items()):
            yield f"site_alone.{site}", value
        for site, value in sorted(self.site_alone_without_privacy.items()):
            yield f"site_alone_without_privacy.{site}", value
        for method, value in sorted(self.methods.items()):
            yield f"methods.{method}", value


class StudyFacts(Frozen):
    """What every report says about the study; `notes` are shown in every report of it."""

    name: str
    digest: str
    uid: str
    method: str
    data_kind: Literal["real", "made"]
    data_name: str
    classes: tuple[str, ...]
    image_size: int
    notes: tuple[str, ...] = ()
    purpose: str = ""
    attribution: str = ""


class Paired(Frozen):
    """Test AUC of model `a` minus that of model `b`, on the same patients; names are keys of `ByModel`."""

    a: str
    b: str
    difference: Interval


class Event(Frozen):
    """Something a reader should know: a refusal, a late or missing answer, a resume."""

    round: int
    site: str = ""
    code: str = ""
    what: str = ""


class Round(Frozen):
    """One round: who answered, who did not and why, and what the merged student was worth after it."""

    round: int
    answered: tuple[str, ...] = ()
    missing: dict[str, str] = Field(default_factory=dict)
    test_auc: Interval | None = None
    mask_area: float | None = None
    seconds: float | None = None
    epsilon: dict[str, float | None] = Field(default_factory=dict)
    bytes_sent: dict[str, int] = Field(default_factory=dict)  # by site; also of answers that were refused
    rounding: dict[str, float] = Field(default_factory=dict)  # by site, where updates travel as float16


class SeedResult(Frozen):
    """The same study with another seed."""

    seed: int
    test_auc: ByModel[Interval] = ByModel[Interval]()
    paired: tuple[Paired, ...] = ()


class SiteCounts(Frozen):
    """A site's own evaluation: noised shares of patients by true and predicted class, and the noise's deviation."""

    counts: tuple[tuple[float, ...], ...]
    noise_std: float

    def accuracy(self) -> tuple[float, float] | None:
        """Return accuracy and the standard deviation that noise alone gives it; None where noise drowns the total.

        First-order propagation: the trace has C noised cells, the total C^2, and the trace is part of the total.
        """
        size = len(self.counts)
        right = sum(self.counts[c][c] for c in range(size))
        total = sum(map(sum, self.counts))
        if total < 3 * self.noise_std * size:
            return None
        share = min(1.0, max(0.0, right / total))
        variance = size * (1 - share) ** 2 + (size**2 - size) * share**2
        return share, self.noise_std * variance**0.5 / total


class Summary(Frozen):
    """summary.json; a field that older files lack has its default here."""

    status: Literal["completed", "failed"]
    verdict: Literal["accepted", "held", "none"] = "none"
    reasons: tuple[str, ...] = ()
    seconds: dict[str, float] = Field(default_factory=dict)
    study: StudyFacts
    model: ModelFacts = ModelFacts()
    test_auc: ByModel[Interval] = ByModel[Interval]()
    metrics: ByModel[Metrics] = ByModel[Metrics]()
    paired: tuple[Paired, ...] = ()
    by_site_of_origin: dict[str, Metrics] = Field(default_factory=dict)
    trivial_by_site_of_origin: dict[str, Interval] = Field(default_factory=dict)  # AUC
    site_counts: dict[str, SiteCounts] = Field(
        default_factory=dict
    )  # released by sites, charged to their ledgers
    temperature: float | None = None
    calibrated: Calibrated | None = (
        None  # test figures after the temperature; those of `metrics` are before it
    )
    privacy: Privacy | None = None  # as the study set it, with the calibrated noise_multiplier
    epsilon: dict[str, float | None] = Field(default_factory=dict)  # None: no guarantee holds
    delta: dict[str, float] = Field(default_factory=dict)
    statements: dict[str, LedgerStatement] = Field(default_factory=dict)  # the last one of each site
    events: tuple[Event, ...] = ()
    bytes_sent: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    rounds: tuple[Round, ...] = ()
    audit: AuditResult | None = None
    gate: GateResult | None = None
    membership: Membership | None = None  # made hospitals only; None: not measured
    seeds: tuple[SeedResult, ...] = ()
    digests: dict[str, str] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)

    @property
    def main(self) -> Metrics | None:
        """Everything measured of the study's own student, private or not."""
        return self.metrics.main

    @property
    def main_auc(self) -> Interval | None:
        """Test AUC of the study's own student."""
        return self.test_auc.main

    @property
    def privacy_enabled(self) -> bool:
        """False where the study switched privacy off or a site's ledger says that no guarantee holds."""
        return (self.privacy is None or self.privacy.enabled) and None not in self.epsilon.values()


def auc_of(metrics: ByModel[Metrics]) -> ByModel[Interval]:
    """Return the AUC of every measured model."""

    def one(value: Metrics | None) -> Interval | None:
        return None if value is None else value.auc

    def many(values: dict[str, Metrics]) -> dict[str, Interval]:
        return {name: value.auc for name, value in values.items()}

    return ByModel[Interval](
        teacher=one(metrics.teacher),
        warm_start=one(metrics.warm_start),
        federated_private=one(metrics.federated_private),
        federated=one(metrics.federated),
        central=one(metrics.central),
        trivial=one(metrics.trivial),
        site_alone=many(metrics.site_alone),
        site_alone_without_privacy=many(metrics.site_alone_without_privacy),
        methods=many(metrics.methods),
    )


def write_summary(run_dir: Path, summary: Summary) -> Path:
    """Write summary.json with sorted keys: equal summaries have equal bytes."""
    path = run_dir / "summary.json"
    text = json.dumps(summary.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    return path


def read_summary(run_dir: Path) -> Summary:
    """Read summary.json; a missing, cut or foreign file is a `StudyError`."""
    path = run_dir / "summary.json"
    try:
        return Summary.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise StudyError(
            f"{path}: not the summary of a run; check the folder or run the study again"
        ) from error
