"""Moments of a study that a script can wait for: what the study's own records, Flower and a site's ledger show."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from server.flower.run_control import Control
from server.studies.submissions import SubmittedStudy
from tests.system.deployed import Deployment

ROUNDS = 2  # of the tests' tiny study
_LOOK_SECONDS = 0.02  # a tiny round's private steps take about a second


@dataclass(frozen=True)
class Moment:
    """What a table calls it, and whether it has come for a study, as seen from one site's ledger where that matters."""

    told: str
    has_come: Callable[[Deployment, SubmittedStudy, str], bool]


def wait_for(deployment: Deployment, study: SubmittedStudy, site: str, moment: str, seconds: float) -> None:
    """Return as soon as the moment has come; `AssertionError` where it has not in so many seconds."""
    end = time.monotonic() + seconds
    while not MOMENTS[moment].has_come(deployment, study, site):
        assert time.monotonic() < end, f"{moment}: has not come within {seconds:g} s"
        time.sleep(_LOOK_SECONDS)


def _told(event: str, number: int | None = None) -> Callable[[Deployment, SubmittedStudy, str], bool]:
    """Tell whether the study's events have one of this name, and of this round."""
    return lambda deployment, study, _: any(
        number in {None, line.get("round")} for line in deployment.events(study, event)
    )


def _in_ledger(row: str, request: str, number: int) -> Callable[[Deployment, SubmittedStudy, str], bool]:
    """Tell whether the site's ledger has this row for the study; read without its lock, so that nobody waits for us."""

    def has_come(deployment: Deployment, study: SubmittedStudy, site: str) -> bool:
        file = deployment.site(site).state_dir / "ledger.sqlite"
        uids = {str(line["uid"]) for line in deployment.events(study, "study_started")}
        if not (uids and file.is_file()):
            return False
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
            asked = "SELECT count(*) FROM rows WHERE kind = ? AND request_kind = ? AND round = ? AND study_uid = ?"
            try:
                (found,) = ledger.execute(asked, (row, request, number, *uids)).fetchone()
            except sqlite3.OperationalError:  # its tables are being made
                return False
        return bool(found)

    return has_come


def _taken(deployment: Deployment, study: SubmittedStudy, _site: str) -> bool:
    """Tell whether the SuperLink has a run of the study."""
    control = Control(f"127.0.0.1:{deployment.superlink_port}", deployment.hub.ca_file)
    return control.going_on(str(study.path.resolve())) is not None


MOMENTS = {
    "submitted": Moment("as it is submitted", lambda *_: True),
    "starting": Moment("when Flower has the run, and the hub has not yet written that down", _taken),
    "enrolment": Moment("before enrolment", _told("study_started")),
    "round 1": Moment("as round 1 begins", _told("round_started", 1)),
    "charged": Moment("in round 1, a site being charged and at work", _in_ledger("reserve", "train", 1)),
    "stored": Moment("in round 1, a site's update being stored and on its way", _in_ledger("commit", "train", 1)),
    "last round": Moment("as the last round begins", _told("round_started", ROUNDS)),
    "evaluation": Moment("after the last round", lambda _deployment, study, _site: study.rounds() >= ROUNDS),
    "counting": Moment(
        "after the last round, a site being charged and at work", _in_ledger("reserve", "evaluate", ROUNDS)
    ),
}  # fmt: skip
