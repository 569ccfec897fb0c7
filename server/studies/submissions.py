"""A submitted study, from submit to its end: what was asked for, which runs of Flower served it, and how it stands.

In: a prepared workspace and overrides. Out: a folder below the hub's `studies/` that is at once the run's output
folder, so that every further run resumes the same study (same study_uid) from its checkpoint.
"""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from server.runs.run_folder import RunFolder
from server.runs.run_lines import read_events, read_rounds
from shared.config.files import write_yaml
from shared.config.study import StudyConfig
from shared.config.values import Digest, Frozen
from shared.errors import ConfigError, StudyError
from shared.whole_file import whole_file

State = Literal["submitted", "running", "stopping", "stopped", "completed", "failed"]
GOING_ON: tuple[State, ...] = ("submitted", "running", "stopping")
EXIT_STATUS: dict[State, int] = {
    "completed": 0, "failed": 1, "submitted": 3, "running": 3, "stopping": 3, "stopped": 4,
}  # fmt: skip
MAX_RESUMES = 5  # in a row without a round closed between them
MAX_REFUSALS = 3  # in a row, before it is believed that Flower will not take a run
_FILE = "submission.json"
_ASKED = "asked.yaml"  # the study, whole: what each run by Flower is given, whatever becomes of the workspace


class FlowerRun(Frozen):
    """One run by Flower, and how many rounds were closed before it."""

    run_id: int
    started: str
    rounds_before: int


class Submission(Frozen):
    """What a coordinator submitted, and what has been done about it; replaced whole at each change.

    A command only asks, by `submitted` or `stopping`; `rounds-hub serve` alone starts and stops runs.
    """

    workspace: Path
    app: str
    study: Digest
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)
    state: State = "submitted"
    why: str = ""
    refusals: int = 0  # times in a row that Flower did not take the run which is due
    runs: tuple[FlowerRun, ...] = ()


@dataclass(frozen=True)
class SubmittedStudy:
    """A study's folder below `studies/`."""

    path: Path

    @property
    def folder(self) -> RunFolder:
        """The records that the study leaves."""
        return RunFolder(self.path)

    def rounds(self) -> int:
        """Return how many rounds were closed and scored; the checkpoint has the same number, or one more."""
        return max((line.round for line in read_rounds(self.folder)), default=0)

    def bytes_sent(self) -> dict[str, dict[int, int]]:
        """Return how many bytes each site's answer had, by site and round; closed and scored rounds only."""
        sent: dict[str, dict[int, int]] = {}
        for line in read_rounds(self.folder):
            for site, count in line.num_bytes.items():
                sent.setdefault(site, {})[line.round] = count
        return sent

    def rounding_error(self) -> float | None:
        """Return the largest rounding error of an update over its norm; None where updates travel exactly."""
        return max(
            (error for line in read_rounds(self.folder) for error in line.rounding.values()),
            default=None,
        )

    def read(self) -> Submission:
        """Read the submission; `StudyError` where it is damaged."""
        try:
            return Submission.model_validate_json((self.path / _FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise StudyError(
                f"{self.path.name}: its {_FILE} is missing or damaged; submit the study anew"
            ) from error

    def write(self, submission: Submission) -> None:
        """Replace the submission durably."""
        with whole_file(self.path / _FILE) as part:
            part.write_text(submission.model_dump_json(indent=1), encoding="utf-8")

    def move(self, after: State, *before: State, why: str = "") -> bool:
        """Change the state where it is one of `before`; returns whether it was."""
        with self._lock():
            submission = self.read()
            if submission.state not in before:
                return False
            self.write(submission.model_copy(update={"state": after, "why": why, "refusals": 0}))
            return True

    def started(self, run_id: int) -> None:
        """Record one more run by Flower; a wish to stop that came meanwhile stays."""
        run = FlowerRun(run_id=run_id, started=now(), rounds_before=self.rounds())
        with self._lock():
            submission = self.read()
            state: State = "running" if submission.state == "submitted" else submission.state
            begun = {"state": state, "runs": (*submission.runs, run), "refusals": 0}
            self.write(submission.model_copy(update=begun))

    def refused(self, why: str) -> int:
        """Record that Flower did not take the run that is due; returns how often in a row."""
        with self._lock():
            submission = self.read()
            refusals = submission.refusals + 1
            self.write(submission.model_copy(update={"refusals": refusals, "why": why}))
            return refusals

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Let one process at a time read and replace the submission."""
        with (self.path / ".lock").open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def run_config(self) -> dict[str, str | int | float | bool]:
        """Return what Flower hands to the ServerApp: workspace, output folder and the whole study."""
        return {
            "threads": self.read().settings.get("threads", 1),
            "workspace": str(self.read().workspace),
            "study": str((self.path / _ASKED).resolve()),
            "output": str(self.path.resolve()),
            "site-state": "",
        }

    def said(self) -> tuple[State, str]:
        """Return what the study's own records say of the last run: completed, failed and why, or still running."""
        since = self.read().runs[-1].started
        for line in read_events(self.folder):
            if line.time >= since and line.event == "study_completed":
                return "completed", ""
            if line.time >= since and line.event == "study_failed":
                return "failed", line.why
        return "running", ""

    def resumes_without_progress(self) -> int:
        """Count the runs at the end of the list before which no further round had been closed."""
        rounds = [run.rounds_before for run in self.read().runs] + [self.rounds()]
        return next(
            (n for n, earlier in enumerate(reversed(rounds[:-1])) if earlier != rounds[-1]), len(rounds) - 1
        )


def now() -> str:
    """Return the time as events have it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def new_study(
    studies: Path,
    workspace: Path,
    app: str,
    asked: StudyConfig,
    settings: dict[str, str | int | float | bool],
) -> SubmittedStudy:
    """Make the folder of a new study, which asks `asked` and nothing else; `settings` are what was typed."""
    study = SubmittedStudy(studies / f"{asked.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    try:
        study.path.mkdir(parents=True)
    except FileExistsError:
        raise ConfigError(
            f"{study.path.name}: was submitted this very second; submit again for another"
        ) from None
    write_yaml(study.path / _ASKED, asked)
    study.write(Submission(workspace=workspace.resolve(), app=app, study=asked.digest(), settings=settings))
    return study


def all_studies(studies: Path) -> list[SubmittedStudy]:
    """Return all submitted studies, in the order of submission."""
    found = studies.glob(f"*/{_FILE}")
    return [
        SubmittedStudy(path.parent) for path in sorted(found, key=lambda path: path.parent.stat().st_ctime)
    ]


def find_study(studies: Path, name: str | None) -> SubmittedStudy:
    """Return a study by name, the newest without one; `StudyError` where there is none."""
    known = all_studies(studies)
    found = [study for study in known if name in {None, study.path.name}]
    if not found:
        names = ", ".join(study.path.name for study in known) or "none yet: rounds-hub study submit"
        raise StudyError(f"STUDY is {name!r}: was not submitted here; known are {names}")
    return found[-1]
