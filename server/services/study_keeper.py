"""Keep submitted studies going: start runs of Flower, see how they ended, and resume what was cut off.

In: the hub's studies and the Control API. Out: their state, kept in each study's folder. A study that says itself why
it failed (too few sites, a wrong setting) waits for a person; one whose run ended without a word (a process or the
machine died) is resumed from its checkpoint, with the same study_uid.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from server.flower.run_control import COMPLETED, Control
from server.runs.study_journal import record_status
from server.studies.submissions import MAX_REFUSALS, MAX_RESUMES, State, SubmittedStudy, all_studies
from shared.errors import RoundsError, ServiceError, StudyError

log = logging.getLogger("rounds.hub")


def look_after(studies: Path, control: Control, let_send: Callable[[str], object] = lambda _: None) -> None:
    """Bring every study up to date: start, stop, record its end, or resume it where it was cut off.

    Before a study is started `let_send` is called with its name, so that it may send its records to the feed.
    """
    for study in all_studies(studies):
        try:
            match study.read().state:
                case "submitted":
                    _let_send(study, let_send)
                    _start(study, control)
                case "running":
                    _look(study, control)
                case "stopping":
                    _stop(study, control)
        except ServiceError:
            return  # the SuperLink is away; we are asked again when it answers
        except RoundsError as error:
            log.error("%s: %s", study.path.name, error)


def _let_send(study: SubmittedStudy, let_send: Callable[[str], object]) -> None:
    try:
        let_send(study.path.name)
    except RoundsError as error:  # its records wait in its folder; no reason not to run
        log.error("%s: cannot send its records: %s", study.path.name, error)


def _start(study: SubmittedStudy, control: Control) -> None:
    """Start a run of Flower that begins or resumes the study; what is refused again and again ends it.

    A run that Flower took just before this hub died is in no record of ours: it is found by its output folder, for
    two runs of one study would stand in each other's way. A refusal may come of a service that died at that moment.
    """
    submission, run_config = study.read(), study.run_config()
    run_id = control.going_on(str(run_config["output"]))
    try:
        if run_id is None:
            run_id = control.start(submission.app, run_config)
    except StudyError as error:
        log.warning("%s: %s", study.path.name, error)
        if study.refused(str(error)) >= MAX_REFUSALS:
            _ended(study, "failed", "submitted", why=str(error))
        return
    study.started(run_id)
    log.info("%s: run %d of Flower started", study.path.name, run_id)


def _stop(study: SubmittedStudy, control: Control) -> None:
    submission = study.read()
    try:
        for run_id in {
            control.going_on(str(study.path.resolve())),
            *(one.run_id for one in submission.runs[-1:]),
        }:
            if run_id is not None:
                control.stop(run_id)
    except StudyError as error:
        log.info("%s: %s", study.path.name, error)  # Flower's run had ended before
    _ended(study, "stopped", "stopping", why=submission.why)


def _look(study: SubmittedStudy, control: Control) -> None:
    status = control.status(study.read().runs[-1].run_id)
    if not status.startswith("finished") and status != "unknown":
        return
    state, why = study.said()
    if state != "running":
        if state == "completed" and status != COMPLETED:
            log.warning("%s: is completed by its own records, Flower says %s", study.path.name, status)
        study.move(state, "running", why=why)  # its own process has told the audit store
        log.info("%s: %s %s", study.path.name, state, why)
    elif study.resumes_without_progress() > MAX_RESUMES:
        why = (
            f"Flower says {status}, {MAX_RESUMES} times in a row without a round; see `rounds-hub study logs`"
        )
        _ended(study, "failed", "running", why=why)
        log.error("%s: %s", study.path.name, why)
    else:
        log.warning("%s: Flower says %s; resuming it", study.path.name, status)
        study.move("submitted", "running", why=f"resumed after Flower said {status}")


def _ended(study: SubmittedStudy, state: Literal["failed", "stopped"], before: State, *, why: str) -> None:
    """Record an end that the study's own process could not tell of, for the audit store too."""
    study.move(state, before, why=why)
    record_status(study.folder, state, why)
