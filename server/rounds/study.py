"""A study, from enrolment to the last merged student: one statement a stage.

In come the study, the warm-started weights and a way to ask sites; out comes the state with the merged
weights. Only public things and what sites released pass through here.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from server.rounds.aggregation import applied
from server.rounds.collection import Collected, Stage, collect, record_late
from server.rounds.enrolment import enrol_sites
from server.rounds.exchange import Exchange
from server.rounds.merging import MeanMerge, Merge
from server.runs.checkpoints import Checkpoints, StudyState, load_state
from server.runs.enrolled_site import EnrolledSite
from server.runs.run_folder import RunFolder
from server.runs.study_journal import Journal
from shared.config.study import StudyConfig
from shared.errors import ErrorCode, StudyError
from shared.messages.releases import LedgerStatement
from shared.models.arrays import Arrays

Score = Callable[[Arrays], dict[str, Any]]
Look = Callable[[StudyState], None]  # what else is made of a closed round while sites work on the next
# after these answers a site is not asked again: nothing the hub can send would change them
_FINAL = {
    ErrorCode.BUDGET_SPENT,
    ErrorCode.LEDGER_STOPPED,
    ErrorCode.APPROVALS_STOPPED,
    ErrorCode.RELEASE_NOT_ALLOWED,
    ErrorCode.DEADLINE_TOO_SHORT,
}


def run_study(
    study: StudyConfig,
    initial: Arrays,
    exchange: Exchange,
    folder: RunFolder,
    score: Score,
    look: Look = lambda _: None,
    *,
    merge: Merge | None = None,
    simulation: bool = False,
) -> StudyState:
    """Run every round that is left, then the sites' evaluation where the study asks for it.

    `merge` makes a round's step; None: the mean update, with the study's momentum.
    """
    merge = merge or MeanMerge(study)
    state = load_state(folder.checkpoint, study.digest()) or StudyState(study.digest(), initial)
    journal = Journal(folder.path, state.study_uid)
    with journal.kept(), Checkpoints(folder.checkpoint) as checkpoints:
        journal.record_event(
            "study_started", study=study.name, uid=state.study_uid, rounds=study.federation.rounds
        )
        checkpoints.save(state)
        checkpoints.wait()  # nobody may hear of a study whose uid could be lost
        journal.begin(study, simulation=simulation)
        if state.rounds_done == 0:
            record_last(state, journal, score)
        sites = enrol_sites(study, state.study_uid, exchange, journal)
        journal.enrolled(sites)
        while state.rounds_done < study.federation.rounds:
            meanwhile = partial(look_back, state, journal, score, look)
            state = run_round(study, state, sites, exchange, journal, checkpoints, meanwhile, merge)
            checkpoints.save(state)
        checkpoints.wait()
        record_last(state, journal, score)
        if study.federation.evaluate_sites:
            state = evaluate_sites(study, state, sites, exchange, journal)
            checkpoints.save(state)
            checkpoints.wait()
            journal.stage(state.heard)
        for answer in exchange.late():
            record_late(answer, sites, journal)
        journal.completed()
        journal.record_event("study_completed", rounds=state.rounds_done)
    return state


def run_round(
    study: StudyConfig,
    state: StudyState,
    sites: tuple[EnrolledSite, ...],
    exchange: Exchange,
    journal: Journal,
    checkpoints: Checkpoints,
    meanwhile: Callable[[], None],
    merge: Merge,
) -> StudyState:
    """Ask, collect until all answered or the deadline, merge; `StudyError` below the quorum.

    No request leaves before the state that it rests on is durable, nor where too few sites are left for the quorum.
    `meanwhile` is done while sites work: scoring the last round must not keep them waiting. Below the quorum what sites
    stated to have spent is saved: they have spent it.
    """
    started = time.monotonic()
    number = state.rounds_done + 1
    asked = tuple(site for site in sites if site.name not in state.excluded)
    quorum = study.federation.quorum
    if len(asked) < quorum:
        raise StudyError(
            f"federation.quorum is {quorum}: {len(asked)} of {len(sites)} sites are still asked in round {number} "
            f"({_told(state.excluded)}), so nobody was asked and nothing more spent; resuming cannot "
            "mend it, a new study with a lower quorum or other sites can"
        )
    journal.record_event("round_started", round=number, sites=[site.name for site in asked])
    stage = Stage(number, "train", state.weights)

    def once_sent() -> None:
        checkpoints.wait()  # also where no site is left to be sent anything
        meanwhile()

    collected = collect(
        study, state, stage, asked, exchange, journal,
        at_least=quorum, before_sending=checkpoints.wait, meanwhile=once_sent,
    )  # fmt: skip
    if collected.mean is None or len(collected.releases) < quorum:
        journal.failed_stage(collected.heard)
        checkpoints.save(with_statements(state, collected))
        checkpoints.wait()
        raise StudyError(_below_quorum(quorum, number, len(asked), collected))
    state = remembered(state, stage, collected, journal)
    declared = [site.declared_patients for site in asked if site.name in collected.releases]
    step, carried = merge(state.carried, collected.mean.mean(), declared, number)
    record = {
        "answered": sorted(collected.releases),
        "missing": state.excluded | collected.missing,
        "asked_again": sorted(collected.asked_again),
        "epsilon": {name: one.epsilon for name, one in state_statements(state).items()},
        "bytes": collected.num_bytes,
        "rounding": collected.rounding,
        "seconds": round(time.monotonic() - started, 2),
    }
    return state.after_round(applied(state.weights, step), carried, record)


def _below_quorum(quorum: int, number: int, num_asked: int, collected: Collected) -> str:
    """Say how many answered, what it cost, and what resuming could mend and could not."""
    spent = [f"{name} {one.epsilon:.3g}" for name, one in sorted(collected.statements.items()) if one.epsilon]
    final = {name: why for name, why in collected.missing.items() if why in _FINAL}
    again = num_asked - len(final)
    mend = (
        f"resume with the same output folder: {again} sites are asked again, and those that answered spend nothing more"
        if again >= quorum
        else f"to resume helps only once these hospitals mend it ({_told(final)}); else start a new study with a lower "
        "quorum or other sites"
    )
    return (
        f"federation.quorum is {quorum}: {len(collected.releases)} of {num_asked} sites sent an update in round "
        f"{number}; epsilon stated as spent: {', '.join(spent) or 'none'}; see events.jsonl; {mend}"
    )


def _told(reasons: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {why}" for name, why in sorted(reasons.items())) or "none refused"


def record_last(state: StudyState, journal: Journal, score: Score) -> None:
    """Record what was heard in the last stage, and the last closed round with its student's figures, each once.

    The checkpoint came first: where the hub died before this, the resumed study records it.
    """
    journal.stage(state.heard)
    journal.close_round(state.last_round or {"round": 0}, partial(score, state.weights))


def look_back(state: StudyState, journal: Journal, score: Score, look: Look) -> None:
    """Do what is due for the last closed round while sites work on the next one."""
    record_last(state, journal, score)
    look(state)


def evaluate_sites(
    study: StudyConfig,
    state: StudyState,
    sites: tuple[EnrolledSite, ...],
    exchange: Exchange,
    journal: Journal,
) -> StudyState:
    """Ask each site for noised counts on its evaluation patients; sites may decline."""
    asked = tuple(site for site in sites if site.name not in state.excluded)
    stage = Stage(state.rounds_done, "evaluate", state.weights)
    collected = collect(study, state, stage, asked, exchange, journal)
    for name, release in collected.releases.items():
        journal.record_event(
            "site_evaluation",
            round=stage.round,
            site=name,
            noised_counts=release.arrays["confusion"].tolist(),
            noise_std=study.federation.evaluation_noise_multiplier,
        )
    for name in sorted(collected.missing.keys() - collected.num_bytes.keys()):
        journal.record_event("not_evaluated", round=stage.round, site=name, why=collected.missing[name])
    return remembered(state, stage, collected, journal)


def remembered(state: StudyState, stage: Stage, collected: Collected, journal: Journal) -> StudyState:
    """Return the state with the statements, bytes, final refusals and records of one stage."""
    final = {name: why for name, why in collected.missing.items() if why in _FINAL}
    received = {name: list(counts) for name, counts in state.bytes_received.items()}
    for name, count in collected.num_bytes.items():
        received.setdefault(name, []).append(count)
    heard = [body.model_dump(mode="json") for body in (*collected.heard, *journal.taken())]
    return replace(
        with_statements(state, collected),
        heard={f"{stage.kind}/{stage.round}": heard},
        bytes_received=received,
        excluded=state.excluded | final,
    )


def with_statements(state: StudyState, collected: Collected) -> StudyState:
    """Return the state with what sites last stated to have spent."""
    stated = {name: one.model_dump(mode="json") for name, one in collected.statements.items()}
    return replace(state, statements=state.statements | stated)


def state_statements(state: StudyState) -> Mapping[str, LedgerStatement]:
    """Return the latest ledger statement of each site."""
    return {name: LedgerStatement.model_validate(raw) for name, raw in state.statements.items()}
