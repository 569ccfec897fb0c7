"""What a run's own records say: rounds, events, ledger statements, before anything is measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from server.runs.checkpoints import StudyState
from server.runs.run_folder import RunFolder
from server.runs.run_lines import RoundLine, read_events, read_rounds
from server.runs.study_journal import package_versions
from server.runs.summary import Event, Round, SiteCounts, StudyFacts, Summary
from shared.code_digest import code_digest
from shared.config.study import StudyConfig
from shared.messages.release_kinds import LedgerStatement

_TOLD = {
    "not_enrolled": "",
    "study_failed": "",
    "deadline": "no answer by the deadline",
    "late": "answered after the deadline: discarded, and charged in its ledger",
    "asked_again": "the node failed and was sent the same request once more",
}


@dataclass(frozen=True)
class About:
    """What a report says of the data and the run that no file of the run holds."""

    data_kind: str  # "made" or "real"
    data_name: str
    notes: tuple[str, ...] = ()
    attribution: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    started: float | None = None  # time.monotonic() at the begin of everything


def recorded_summary(
    folder: RunFolder, study: StudyConfig, state: StudyState | None, about: About, *, completed: bool
) -> Summary:
    """Return what the run's own records say, before anything is measured."""
    statements = {
        site: LedgerStatement.model_validate(one) for site, one in (state.statements if state else {}).items()
    }
    models = study.models
    return Summary(
        status="completed" if completed else "failed",
        verdict="none",
        reasons=() if completed else _why_failed(folder),
        seconds=dict(about.seconds),
        study=StudyFacts(
            name=study.name,
            digest=study.digest(),
            uid=state.study_uid if state else "",
            method=study.distillation.method,
            data_kind="real" if about.data_kind == "real" else "made",
            data_name=about.data_name,
            classes=study.task.classes,
            image_size=study.task.image_size,
            notes=about.notes,
            purpose=study.purpose,
            attribution=about.attribution,
        ),
        privacy=study.privacy,
        epsilon={site: one.epsilon for site, one in statements.items()},
        delta={site: one.delta for site, one in statements.items()},
        statements=statements,
        site_counts={
            line.site: SiteCounts(counts=line.noised_counts, noise_std=line.noise_std)
            for line in read_events(folder)
            if line.event == "site_evaluation"
        },
        events=_events(folder),
        bytes_sent={site: tuple(counts) for site, counts in (state.bytes_received if state else {}).items()},
        rounds=_rounds(folder),
        digests={
            "study": study.digest(),
            "code": code_digest(),
            "teacher": str(models.teacher.sha256),
            "initial": str(models.initial_sha256),
            **{name.removesuffix("_sha256"): str(value) for name, value in study.public.model_dump().items()},
        },
        versions=package_versions(),
    )


def _why_failed(folder: RunFolder) -> tuple[str, ...]:
    """Return the sentence of the last failure that the run wrote down."""
    told = [line.why for line in read_events(folder) if line.event == "study_failed"]
    return tuple(told[-1:])


def _rounds(folder: RunFolder) -> tuple[Round, ...]:
    """Return closed rounds; one that a killed hub recorded but did not save ran again, and its last record counts."""
    last = {line.round: line for line in read_rounds(folder)}
    return tuple(_round(line) for line in last.values())


def _round(line: RoundLine) -> Round:
    return Round(
        round=line.round,
        answered=line.answered,
        missing=line.missing,
        test_auc=line.test.auc,
        mask_area=line.test.mask_area,
        seconds=line.seconds,
        epsilon={site: value for site, value in line.epsilon.items() if value is not None},
        bytes_sent=line.num_bytes,
        rounding=line.rounding,
    )


def _events(folder: RunFolder) -> tuple[Event, ...]:
    """Refusals, silences and failures, in the order they happened."""
    told = []
    for line in read_events(folder):
        refused = line.outcome != "accepted"
        if line.event in _TOLD or refused:
            what = line.why or (line.outcome if refused else _TOLD[line.event])
            told.append(Event(round=line.round or 0, site=line.site or line.node, code=line.event, what=what))
    return tuple(told)
