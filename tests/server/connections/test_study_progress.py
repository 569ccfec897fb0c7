"""A study told while it waits: who refused, with the code, its meaning and what to do."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.program import app
from server.connections.study_progress import StudyProgress
from server.studies.submissions import SubmittedStudy
from tests.connected_hub import STUDY, new_hub


@pytest.fixture
def study(tmp_path: Path) -> SubmittedStudy:
    return new_hub(tmp_path).submit()


def test_each_event_is_told_once_as_it_comes(study: SubmittedStudy) -> None:
    """Enrolment, refusal with its meaning, round and its close; nothing twice."""
    progress, record = StudyProgress(study), study.folder.record_event
    record("study_started", study="lungs", uid="5" * 32, rounds=4)
    record("enrolled", site="north", declared_patients=600)
    record("not_enrolled", site="south", why="answered not_ready")
    first = list(progress.lines())
    assert first[:2] == ["study lungs started, rounds: 4; waiting for sites to enrol", "north enrolled"]
    assert first[2].startswith(
        "south, enrolment: not_ready: the hospital is not ready for this study; only its own log"
    )
    record("round_started", round=1, sites=["north"])
    record("answered", round=1, kind="train", site="north", outcome="accepted")
    study.folder.record_round({"round": 1, "answered": ["north"]})
    assert list(progress.lines()) == [
        "round 1: asked north",
        "north answered round 1",
        "round 1 of 4 closed: 1 sites",
    ]
    assert list(progress.lines()) == []


def test_what_was_told_before_is_not_told_again(study: SubmittedStudy) -> None:
    """Resumed, a study is told from there on."""
    study.folder.record_event("enrolled", site="north", declared_patients=600)
    assert list(StudyProgress(study).lines()) == []


def test_waiting_says_who_refused_and_why(study: SubmittedStudy) -> None:
    """`study status` lists refusals under the table, and `--wait` tells them on standard error as they come."""
    study.folder.record_event("not_enrolled", site="south", why="answered code_not_approved")
    study.write(study.read().model_copy(update={"state": "failed", "why": "too few"}))
    words = ["study", "status", STUDY, "--hub", str(study.path.parent.parent)]
    done = CliRunner().invoke(app, words)
    told = "south, enrolment: code_not_approved: the hospital has not approved this app bundle"
    assert (done.exit_code, told in done.stdout) == (1, True), done.output
