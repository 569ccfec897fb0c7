"""A study, from enrolment to the last merged student: one statement a stage.

In come the study, the warm-started weights and a way to ask sites; out comes the state with the merged
weights. Only public things and what sites released pass through here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from server.aggregation import applied, merged_step
from server.checkpoints import Checkpoints, StudyState, load_state
from server.collect import Collected, Stage, collect
from server.enrolment import EnrolledSite, enrol_sites
from server.exchange import Exchange
from server.run_folder import RunFolder, read_lines
from shared.arrays import Arrays
from shared.config import StudyConfig
from shared.errors import ErrorCode, StudyError
from shared.releases import LedgerStatement

Score = Callable[[Arrays], dict[str, Any]]
# after these answers a site is not asked again: nothing the hub can send would change them
_FINAL = {
    ErrorCode.BUDGET_SPENT,
    ErrorCode.LEDGER_STOPPED,
    ErrorCode.APPROVALS_STOPPED,
    ErrorCode.RELEASE_NOT_ALLOWED,
}


def run_study(
    study: StudyConfig, initial: Arrays, exchange: Exchange, folder: RunFolder, score: Score
) -> StudyState:
    """Run every round that is left, then the sites' evaluation where the study asks for it."""
    state = load_state(folder.checkpoint, study.digest()) or StudyState(study.digest(), initial)
    folder.record_event(
        "study_started", study=study.name, uid=state.study_uid, rounds=study.federation.rounds
    )
    with Checkpoints(folder.checkpoint) as checkpoints:
        checkpoints.save(state)
        if state.rounds_done == 0:
            folder.record_round({"round": 0, "test": score(state.weights)})
        checkpoints.wait()  # no site may hear of a study whose uid could be lost
        sites = enrol_sites(study, state.study_uid, exchange, folder)
        while state.rounds_done < study.federation.rounds:
            last = partial(record_last, state, folder, score)
            state = run_round(study, state, sites, exchange, folder, checkpoints.wait, last)
            checkpoints.save(state)
        checkpoints.wait()
        record_last(state, folder, score)
        if study.federation.evaluate_sites:
            state = evaluate_sites(study, state, sites, exchange, folder)
            checkpoints.save(state)
    folder.record_event("study_completed", rounds=state.rounds_done)
    return state


def run_round(
    study: StudyConfig,
    state: StudyState,
    sites: tuple[EnrolledSite, ...],
    exchange: Exchange,
    folder: RunFolder,
    before_sending: Callable[[], None],
    meanwhile: Callable[[], None],
) -> StudyState:
    """Ask, collect until all answered or the deadline, merge; `StudyError` below the quorum.

    No request leaves before `before_sending` has returned: the state that it rests on must be durable. `meanwhile` is
    done while sites work: scoring the last round must not keep them waiting.
    """
    started = time.monotonic()
    number = state.rounds_done + 1
    asked = tuple(site for site in sites if site.name not in state.excluded)
    folder.record_event("round_started", round=number, sites=[site.name for site in asked])
    stage = Stage(number, "train", state.weights)
    quorum = study.federation.quorum
    collected = collect(
        study, state, stage, asked, exchange, folder,
        at_least=quorum, before_sending=before_sending, meanwhile=meanwhile,
    )  # fmt: skip
    state = remembered(state, collected)
    if collected.mean is None or len(collected.releases) < quorum:
        raise StudyError(
            f"federation.quorum is {quorum}: {len(collected.releases)} of {len(asked)} sites sent an update in round "
            f"{number}; see events.jsonl and resume with the same output folder"
        )
    step = merged_step(state.velocity, collected.mean.mean(), study.federation.server_momentum)
    record = {
        "answered": sorted(collected.releases),
        "missing": state.excluded | collected.missing,
        "asked_again": sorted(collected.asked_again),
        "epsilon": {name: one.epsilon for name, one in state_statements(state).items()},
        "bytes": collected.num_bytes,
        "rounding": collected.rounding,
        "seconds": round(time.monotonic() - started, 2),
    }
    kept = (
        step if study.federation.server_momentum else {}
    )  # 30 MB of checkpoint, where nothing would read it
    return state.after_round(applied(state.weights, step), kept, record)


def record_last(state: StudyState, folder: RunFolder, score: Score) -> None:
    """Score the student of the last closed round and write the round's line, unless it stands there already.

    The checkpoint came first: where the hub died before this line, the resumed study writes it.
    """
    written = any(line["round"] == state.rounds_done for line in read_lines(folder.rounds))
    if state.last_round and not written:
        folder.record_round(state.last_round | {"test": score(state.weights)})


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
