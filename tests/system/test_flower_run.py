"""The study by real Flower: SuperLink, Ray, four sites; once undisturbed, once with a site's process killed."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy.simulation.local_superlink import run_app, superlink
from server.evaluation.finish_run import finish_run
from server.evaluation.run_records import About
from server.flower.run_control import COMPLETED
from server.runs.run_folder import RunFolder, read_lines

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 240


@dataclass
class Outcome:
    """What one run left behind."""

    status: str
    folder: RunFolder
    processes: list[psutil.Process]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in read_lines(self.folder.events) if line["event"] == name]


def run(workspace: Path, folder: Path, overrides: dict[str, Any], tick: Any = None) -> Outcome:
    folder.mkdir(parents=True)
    records = RunFolder(folder)
    seen: dict[int, psutil.Process] = {}
    before = {one.pid for one in psutil.Process().children(recursive=True)}  # of other tests' worker pools

    def watch() -> None:
        seen.update(
            {one.pid: one for one in psutil.Process().children(recursive=True) if one.pid not in before}
        )
        if tick is not None:
            tick(records)

    config = {"workspace": str(workspace), "output": str(folder), "site-state": "", "threads": 1, **overrides}
    with superlink(folder / "superlink.log") as link:
        status = run_app(
            link, REPOSITORY, config, num_sites=3, cpus_per_site=1, tick=watch, deadline_seconds=SECONDS
        )
    return Outcome(status, records, list(seen.values()))


def test_flower_runs_the_study_and_nothing_is_left_behind(tiny_federation: Any, tmp_path: Path) -> None:
    """A run by Flower completes every round with every site, is reported, and leaves no process."""
    outcome = run(
        tiny_federation.workspace, tmp_path / "run", {"federation.rounds": 2, "privacy.epsilon": 7.0}
    )
    assert outcome.status == COMPLETED
    rounds = list(read_lines(outcome.folder.rounds))
    assert [line["round"] for line in rounds] == [0, 1, 2]
    assert all(line["answered"] == ["bedside", "children", "film"] for line in rounds[1:])
    assert not [one for one in outcome.processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    summary = finish_run(outcome.folder, tiny_federation.workspace, About("made", "tiny"), lambda *_: None)
    assert summary.status == "completed"
    assert set(summary.epsilon) == {"bedside", "children", "film"}
    assert (outcome.folder.path / "report.html").stat().st_size > 10_000


def test_a_site_killed_in_a_round_does_not_end_the_study(tiny_federation: Any, tmp_path: Path) -> None:
    """With a site's process killed during round 1, the study ends normally and names what was missing."""
    killed: list[int] = []

    def kill_once(records: RunFolder) -> None:
        if killed or not any(line["event"] == "round_started" for line in read_lines(records.events)):
            return
        actors = [
            one
            for one in psutil.Process().children(recursive=True)
            if "ClientAppActor" in " ".join(one.cmdline())
        ]
        if actors:
            killed.append(actors[0].pid)
            os.kill(actors[0].pid, signal.SIGKILL)

    overrides = {"privacy.noise_multiplier": 8.0, "federation.rounds": 2, "federation.steps": 40,
                 "federation.quorum": 1,
                 "federation.deadline_seconds": 60.0}  # fmt: skip
    outcome = run(tiny_federation.workspace, tmp_path / "run", overrides, kill_once)
    assert killed, "no actor was found to kill"
    assert outcome.status == COMPLETED
    first = next(line for line in read_lines(outcome.folder.rounds) if line["round"] == 1)
    assert first["missing"], first
    summary = finish_run(outcome.folder, tiny_federation.workspace, About("made", "tiny"), lambda *_: None)
    assert any(event.site in first["missing"] for event in summary.events)


@pytest.mark.parametrize("wrong", ["results/no-such-folder"])
def test_an_unprepared_workspace_fails_with_one_sentence(tmp_path: Path, wrong: str) -> None:
    """A workspace that was never prepared ends the run as failed, and the log says what to do."""
    folder = tmp_path / "run"
    started = time.monotonic()
    outcome = run(Path(wrong), folder, {})
    assert outcome.status == "finished:failed"
    assert time.monotonic() - started < SECONDS
    log = (folder / "app.log").read_text(encoding="utf-8")
    assert "make prepare" in log
    assert subprocess.run(["pgrep", "-f", str(folder)], capture_output=True, check=False).stdout == b""  # noqa: S607
