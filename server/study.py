"""A study, from enrolment to the last merged student: one statement a stage.

In come the study, the warm-started weights and a way to ask sites; out comes the state with the merged
weights. Only public things and what sites released pass through here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from server.aggregation import RunningMean, applied, update_norm
from server.checkpoints import StudyState, load_state, save_state
from server.enrolment import EnrolledSite, enrol_sites
from server.exchange import Answer, Exchange
from server.run_folder import RunFolder
from shared.arrays import Arrays, arrays_digest
from shared.code import code_digest
from shared.config import StudyConfig
from shared.errors import ErrorCode, RoundsError, StudyError
from shared.privacy.bounds import update_norm_bound
from shared.privacy.step_plan import step_plan
from shared.records import Request, RequestHeader, RequestKind, encode_request
from shared.releases import ErrorRelease, LedgerStatement, Release, Shapes, decode_release
from shared.site_config import ReleaseKind

Score = Callable[[Arrays], dict[str, Any]]
# after these answers a site is not asked again: nothing the hub can send would change them
_ANSWERS: dict[RequestKind, ReleaseKind] = {"enrol": "enrolment", "train": "update", "evaluate": "evaluation"}
_FINAL = {ErrorCode.BUDGET_SPENT, ErrorCode.LEDGER_STOPPED, ErrorCode.RELEASE_NOT_ALLOWED}


@dataclass(frozen=True)
class Stage:
    """One request to all sites: its round and kind, and the weights that go with it."""

    round: int
    kind: RequestKind
    weights: Arrays


@dataclass
class Collected:
    """What came back from one stage: releases by site, bytes by site, and why others are missing."""

    releases: dict[str, Release] = field(default_factory=dict)
    statements: dict[str, LedgerStatement] = field(default_factory=dict)
    num_bytes: dict[str, int] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)


def run_study(
    study: StudyConfig, initial: Arrays, exchange: Exchange, folder: RunFolder, score: Score
) -> StudyState:
    """Run every round that is left, then the sites' evaluation where the study asks for it."""
    state = load_state(folder.checkpoint, study.digest()) or StudyState(study.digest(), initial)
    folder.record_event(
        "study_started", study=study.name, uid=state.study_uid, rounds=study.federation.rounds
    )
    save_state(state, folder.checkpoint)
    if state.rounds_done == 0:
        folder.record_round({"round": 0, "test": score(state.weights)})
    sites = enrol_sites(study, state.study_uid, exchange, folder)
    while state.rounds_done < study.federation.rounds:
        state = run_round(study, state, sites, exchange, folder, score)
        save_state(state, folder.checkpoint)
    if study.federation.evaluate_sites:
        state = evaluate_sites(study, state, sites, exchange, folder)
        save_state(state, folder.checkpoint)
    folder.record_event("study_completed", rounds=state.rounds_done)
    return state


def run_round(
    study: StudyConfig,
    state: StudyState,
    sites: tuple[EnrolledSite, ...],
    exchange: Exchange,
    folder: RunFolder,
    score: Score,
) -> StudyState:
    """Ask, collect until all answered or the deadline, merge, score; `StudyError` below the quorum."""
    started = time.monotonic()
    number = state.rounds_done + 1
    asked = tuple(site for site in sites if site.name not in state.excluded)
    folder.record_event("round_started", round=number, sites=[site.name for site in asked])
    stage = Stage(number, "train", state.weights)
    collected = collect(study, state, stage, asked, exchange, folder)
    state = remembered(state, collected)
    if len(collected.releases) < study.federation.quorum:
        raise StudyError(
            f"federation.quorum is {study.federation.quorum}: {len(collected.releases)} of {len(asked)} sites sent an "
            f"update in round {number}; see events.jsonl and resume with the same output folder"
        )
    weights = applied(state.weights, merged(asked, collected))
    state = state.after_round(weights)
    folder.record_round(
        {
            "round": number,
            "answered": sorted(collected.releases),
            "missing": state.excluded | collected.missing,
            "epsilon": {name: one.epsilon for name, one in state_statements(state).items()},
            "bytes": collected.num_bytes,
            "test": score(weights),
            "seconds": round(time.monotonic() - started, 2),
        }
    )
    return state


def evaluate_sites(
    study: StudyConfig,
    state: StudyState,
    sites: tuple[EnrolledSite, ...],
    exchange: Exchange,
    folder: RunFolder,
) -> StudyState:
    """Ask each site for noised counts on its evaluation patients; sites may decline."""
    asked = tuple(site for site in sites if site.name not in state.excluded)
    stage = Stage(state.rounds_done, "evaluate", state.weights)
    collected = collect(study, state, stage, asked, exchange, folder)
    for name, release in collected.releases.items():
        folder.record_event(
            "site_evaluation",
            site=name,
            noised_counts=release.arrays["confusion"].tolist(),
            noise_std=study.federation.evaluation_noise_multiplier,
        )
    return remembered(state, collected)


def collect(
    study: StudyConfig,
    state: StudyState,
    stage: Stage,
    asked: tuple[EnrolledSite, ...],
    exchange: Exchange,
    folder: RunFolder,
) -> Collected:
    """Send the stage to the sites and sort what comes back; every site ends in releases or in missing."""
    header = RequestHeader(
        study_uid=state.study_uid,
        round=stage.round,
        kind=stage.kind,
        study_json=study.canonical_json(),
        base_digest=arrays_digest(stage.weights),
        code_digest=code_digest(),
    )
    payload = encode_request(Request(header, stage.weights))
    by_node = {site.node_id: site for site in asked}
    collected = Collected()
    answers = exchange.ask(stage.kind, dict.fromkeys(by_node, payload), study.federation.deadline_seconds)
    for answer in answers:
        site = by_node[answer.node_id]
        try:
            accept(study, state, stage, site, answer, collected)
        except RoundsError as error:
            collected.missing[site.name] = str(error)
        folder.record_event(
            "answered",
            round=stage.round,
            kind=stage.kind,
            site=site.name,
            outcome=collected.missing.get(site.name, "accepted"),
            epsilon=collected.statements[site.name].epsilon if site.name in collected.statements else None,
        )
    for site in asked:
        if site.name not in collected.releases and site.name not in collected.missing:
            collected.missing[site.name] = "no answer by the deadline"
            folder.record_event("deadline", round=stage.round, site=site.name)
    return collected


def accept(
    study: StudyConfig,
    state: StudyState,
    stage: Stage,
    site: EnrolledSite,
    answer: Answer,
    collected: Collected,
) -> None:
    """Check one answer and put it where it belongs; `StudyError` or `WeightsError` say why not."""
    if answer.parts is None:
        raise StudyError("the node failed")
    collected.num_bytes[site.name] = answer.num_bytes
    statement = read_part(answer, "ledger_statement")
    if statement is not None and isinstance(statement.fields, LedgerStatement):
        if (statement.fields.site, statement.study_uid, statement.round) != (
            site.name,
            state.study_uid,
            stage.round,
        ):
            raise StudyError("sent a ledger statement of another site or round; discarded")
        collected.statements[site.name] = statement.fields
    error = read_part(answer, "error")
    if error is not None and isinstance(error.fields, ErrorRelease):
        raise StudyError(str(error.fields.code))
    expected = {name: array.shape for name, array in stage.weights.items()}
    if stage.kind == "evaluate":
        expected = {"confusion": (len(study.task.classes),) * 2}
    release = read_part(answer, _ANSWERS[stage.kind], expected)
    if release is None:
        raise StudyError("sent nothing usable")
    if (release.study_uid, release.round) != (state.study_uid, stage.round):
        raise StudyError("answered another round; discarded")
    if arrays_digest(stage.weights) not in release.fields.model_dump().values():
        raise StudyError("answered for other base weights; discarded")
    if stage.kind == "train":
        check_update(study, release.arrays, site.declared_patients)
    collected.releases[site.name] = release


def read_part(answer: Answer, kind: ReleaseKind, expected: Shapes | None = None) -> Release | None:
    """Decode one part of an answer; None when the answer has no such part."""
    payload = (answer.parts or {}).get(kind)
    return None if payload is None else decode_release(payload, expected, kinds=(kind,))


def check_update(study: StudyConfig, update: Arrays, declared_patients: int) -> None:
    """Refuse an update whose norm is beyond what the study's private steps can give."""
    plan = step_plan(study, declared_patients)
    bound = update_norm_bound(plan, sum(array.size for array in update.values()), declared_patients)
    norm = update_norm(update)
    if norm > bound:
        raise StudyError(f"update norm is {norm:.3g}, allowed is at most {bound:.3g}; discarded")


def merged(asked: tuple[EnrolledSite, ...], collected: Collected) -> Arrays:
    """Return the mean update, weighted by declared numbers of patients."""
    mean = RunningMean(
        tuple(site.name for site in asked), {site.name: float(site.declared_patients) for site in asked}
    )
    for name, release in collected.releases.items():
        mean.add(name, release.arrays)
    return mean.mean()


def remembered(state: StudyState, collected: Collected) -> StudyState:
    """Return the state with the statements, bytes and final refusals of one stage."""
    final = {name: why for name, why in collected.missing.items() if why in _FINAL}
    received = {name: list(counts) for name, counts in state.bytes_received.items()}
    for name, count in collected.num_bytes.items():
        received.setdefault(name, []).append(count)
    statements = {name: one.model_dump(mode="json") for name, one in collected.statements.items()}
    return replace(
        state,
        bytes_received=received,
        statements=state.statements | statements,
        excluded=state.excluded | final,
    )


def state_statements(state: StudyState) -> Mapping[str, LedgerStatement]:
    """Return the latest ledger statement of each site."""
    return {name: LedgerStatement.model_validate(raw) for name, raw in state.statements.items()}
