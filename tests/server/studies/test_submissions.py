"""Submitted studies: what the hub keeps of them, when it resumes one, and what it tells by its exit status."""

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from server.cli.program import app
from server.flower.run_control import COMPLETED, Control, RunConfig
from server.services.running_hub import Hub
from server.services.study_keeper import look_after
from server.studies.resolved_study import prepared_study
from server.studies.submissions import EXIT_STATUS, State, SubmittedStudy, find_study, new_study
from shared.config.federation import Federation
from shared.config.files import read_study
from shared.config.study import StudyConfig, Task
from shared.errors import ConfigError, ServiceError, StudyError

MAX_REFUSALS = 3
MAX_RESUMES = 5


@dataclass(frozen=True)
class Flower(Control):
    """Flower's answers without a SuperLink: the status that each run has now."""

    superlink: str = ""
    ca_file: Path = Path()
    statuses: dict[int, str] = field(default_factory=dict)
    configurations: list[RunConfig] = field(default_factory=list)

    def start(self, app: str, run_config: RunConfig) -> int:
        if app == "refused":
            raise StudyError("Flower did not take the run")
        self.configurations.append(run_config)
        self.statuses[len(self.configurations)] = "running"
        return len(self.configurations)

    def going_on(self, output: str) -> int | None:
        mine = [number for number, one in enumerate(self.configurations, 1) if one["output"] == output]
        return next((number for number in mine if not self.statuses[number].startswith("finished")), None)

    def status(self, run_id: int) -> str:
        if self.statuses[run_id] == "away":
            raise ServiceError("SuperLink: does not answer")
        return self.statuses[run_id]

    def stop(self, run_id: int) -> None:
        self.statuses[run_id] = "finished:stopped"


@pytest.fixture
def study(tmp_path: Path) -> SubmittedStudy:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    asked = StudyConfig(
        name="lungs",
        purpose="test submissions",
        ethics_reference="none needed",
        expires=date(2035, 12, 31),
        task=Task(classes=("normal", "opacity")),
        federation=Federation(rounds=3),
    )
    return new_study(tmp_path / "hub" / "studies", workspace, "@a/b==1", asked, {"threads": 2})


def looked_after(study: SubmittedStudy, flower: Flower) -> State:
    look_after(study.path.parent, flower)
    return study.read().state


def test_a_submitted_study_is_started_once(study: SubmittedStudy) -> None:
    """The hub starts it with its own folder as output; looking again starts nothing more."""
    flower = Flower()
    assert [looked_after(study, flower) for _ in range(3)] == ["running"] * 3
    (config,) = flower.configurations
    assert config["output"] == str(study.path)
    assert config["threads"] == 2
    assert read_study(Path(str(config["study"]))).digest() == study.read().study
    assert set(config) == {"threads", "workspace", "study", "output", "site-state"}  # nothing is left to set


def test_completed_needs_the_study_s_own_word(study: SubmittedStudy) -> None:
    """Flower's completed without the study's record is resumed; with it the study is completed."""
    flower = Flower()
    looked_after(study, flower)
    flower.statuses[1] = COMPLETED
    assert looked_after(study, flower) == "submitted"
    looked_after(study, flower)
    study.folder.record_event("study_completed", rounds=3)
    assert looked_after(study, flower) == "running"
    flower.statuses[2] = COMPLETED
    assert looked_after(study, flower) == "completed"


def test_a_cut_off_run_is_resumed_in_the_same_folder(study: SubmittedStudy) -> None:
    """Where a run of Flower ended without a word of the study, another begins with the same output folder."""
    flower = Flower()
    looked_after(study, flower)
    flower.statuses[1] = "finished:failed"
    assert [looked_after(study, flower), looked_after(study, flower)] == ["submitted", "running"]
    assert flower.configurations[0] == flower.configurations[1]


def test_a_study_that_says_why_it_failed_waits_for_a_person(study: SubmittedStudy) -> None:
    """A study's own failure is final until somebody resumes it, and its reason is kept."""
    flower = Flower()
    looked_after(study, flower)
    study.folder.record_event("study_failed", why="federation.quorum is 2: 1 of 3 sites sent an update")
    flower.statuses[1] = "finished:failed"
    assert looked_after(study, flower) == "failed"
    assert "federation.quorum is 2" in study.read().why
    assert study.move("submitted", "stopped", "failed")
    assert looked_after(study, flower) == "running"
    flower.statuses[2] = "finished:failed"
    assert looked_after(study, flower) == "submitted"  # the old reason is not the new run's


def test_resuming_ends_where_nothing_is_gained(study: SubmittedStudy) -> None:
    """After several runs in a row without a closed round the study fails; a closed round starts the count anew."""
    flower = Flower()

    def cut_off() -> State:
        looked_after(study, flower)
        flower.statuses[len(flower.configurations)] = "finished:failed"
        return looked_after(study, flower)

    assert [cut_off() for _ in range(MAX_RESUMES)] == ["submitted"] * MAX_RESUMES
    study.folder.record_round({"round": 1})
    assert [cut_off() for _ in range(MAX_RESUMES + 1)] == ["submitted"] * MAX_RESUMES + ["failed"]


def test_a_superlink_that_is_away_changes_nothing(study: SubmittedStudy) -> None:
    """While the SuperLink does not answer, a running study stays as it is."""
    flower = Flower()
    looked_after(study, flower)
    flower.statuses[1] = "away"
    assert looked_after(study, flower) == "running"


def test_a_run_that_flower_refuses_fails_with_its_words(study: SubmittedStudy) -> None:
    """What Flower refuses again and again fails, and says why; resumed, it has as many tries."""
    study.write(study.read().model_copy(update={"app": "refused"}))
    for _ in range(2):
        states = [looked_after(study, Flower()) for _ in range(MAX_REFUSALS)]
        assert states == ["submitted"] * (MAX_REFUSALS - 1) + ["failed"]
        assert "did not take" in study.read().why
        assert study.move("submitted", "failed")


def test_a_refusal_of_the_moment_costs_nothing(study: SubmittedStudy) -> None:
    """A service that died as the run was submitted is there again at the next look: the study runs."""
    flower, app = Flower(), study.read().app
    for _ in range(2):  # the second round shows that a start ends the count
        study.write(study.read().model_copy(update={"app": "refused"}))
        assert [looked_after(study, flower) for _ in range(MAX_REFUSALS - 1)] == ["submitted"] * 2
        study.write(study.read().model_copy(update={"app": app}))
        assert looked_after(study, flower) == "running"
        flower.statuses[len(flower.configurations)] = "finished:failed"
        assert looked_after(study, flower) == "submitted"


def test_a_run_that_a_dead_hub_had_begun_is_found_again(study: SubmittedStudy, tmp_path: Path) -> None:
    """Killed between Flower's yes and its own record, a hub that starts again begins no second run beside it."""
    flower = Flower()
    flower.start("@a/b==1", {"output": str(tmp_path / "another study")})
    flower.start("@a/b==1", study.run_config())
    assert looked_after(study, flower) == "running"
    assert [run.run_id for run in study.read().runs] == [2]
    flower.statuses[2] = "finished:failed"
    assert [looked_after(study, flower), looked_after(study, flower)] == ["submitted", "running"]
    assert [run.run_id for run in study.read().runs] == [2, 3]


def test_a_stop_finds_a_run_that_a_dead_hub_had_begun(study: SubmittedStudy) -> None:
    """A run that is in no record is stopped with the study, for it would ask the sites."""
    flower = Flower()
    flower.start("@a/b==1", study.run_config())
    assert study.move("stopping", "submitted")
    assert looked_after(study, flower) == "stopped"
    assert flower.statuses == {1: "finished:stopped"}


def test_a_stop_is_carried_out(study: SubmittedStudy) -> None:
    """A wish to stop stops Flower's run, also one that came while the run was being started."""
    flower = Flower()
    looked_after(study, flower)
    assert study.move("stopping", "submitted", "running", why="stopped by a person")
    study.started(2)
    flower.statuses[2] = "running"
    assert looked_after(study, flower) == "stopped"
    assert flower.statuses[2] == "finished:stopped"
    assert not study.move("stopping", "submitted", "running")


def test_exit_statuses_are_true(study: SubmittedStudy) -> None:
    """`study status` ends with 0 for a completed study alone."""
    found = {}
    for state in EXIT_STATUS:
        study.write(study.read().model_copy(update={"state": state}))
        words = ["study", "status", study.path.name, "--hub", str(study.path.parent.parent), "--json"]
        found[state] = CliRunner().invoke(app, words).exit_code
    assert found == EXIT_STATUS
    assert [state for state, number in found.items() if number == 0] == ["completed"]


def test_the_status_of_a_study_lists_what_sites_sent(study: SubmittedStudy) -> None:
    """By site and round, from the study's records; a site that was missing in a round has no number there."""
    for number, sent in ((0, {}), (1, {"north": 221_000, "south": 442}), (2, {"north": 221_001})):
        study.folder.record_round({"round": number, "test": {}} | ({"bytes": sent} if sent else {}))
    words = ["study", "status", study.path.name, "--hub", str(study.path.parent.parent)]
    (status,) = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert status["bytes_sent"] == {"north": {"1": 221_000, "2": 221_001}, "south": {"1": 442}}
    table = CliRunner().invoke(app, words).stdout.split("\n\n")[1]
    assert [line.split() for line in table.splitlines()] == [
        ["sent", "in", "round", "north", "south"],
        ["1", "221.0", "kB", "442", "B"],
        ["2", "221.0", "kB"],
    ]
    assert status["rounding_error"] is None


def test_the_status_says_what_rounding_did(study: SubmittedStudy) -> None:
    """Where updates travel as float16 the largest error of all rounds and sites is stated, as share of the length."""
    for number, error in ((1, {"north": 2.1e-4, "south": 3.3e-4}), (2, {"north": 2.8e-4})):
        sent = dict.fromkeys(error, 1000)
        study.folder.record_round({"round": number, "test": {}, "bytes": sent, "rounding": error})
    words = ["study", "status", study.path.name, "--hub", str(study.path.parent.parent)]
    (status,) = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert status["rounding_error"] == 3.3e-4
    *_, told = CliRunner().invoke(app, words).stdout.splitlines()
    assert told == (
        "updates travel as float16: rounding, after the noise, moved no update by more than 0.03% of its length"
    )


@pytest.fixture
def running_hub(tmp_path: Path) -> Path:
    """Return a hub whose services have just said that they run."""
    status = {"time": datetime.now(UTC).isoformat(), "superlink": "127.0.0.1:1", "services": {}}
    hub = Hub(tmp_path / "running")
    hub.studies.mkdir(parents=True)
    hub.status.write_text(json.dumps(status))
    return hub.path


def submitted(hub: Path, workspace: Path, *settings: str) -> Result:
    """Submit a workspace by the command line."""
    options = [word for one in settings for word in ("--set", one)]
    words = ["study", "submit", str(workspace), "--hub", str(hub), "--app", "@a/b==1", *options]
    return CliRunner().invoke(app, words)


def test_submit_says_what_a_round_moves(tiny_federation, running_hub: Path) -> None:
    """The name goes to standard output alone; beside it one sentence says what each site's link must carry."""
    done = submitted(
        running_hub, tiny_federation.workspace, "privacy.trainable=all", "federation.deadline_seconds=30"
    )
    assert (done.exit_code, done.stdout.strip()) == (0, find_study(running_hub / "studies", None).path.name)
    assert done.stderr.startswith("in a round a site gets ")
    assert "a site needs" in done.stderr
    quiet = submitted(running_hub, tiny_federation.workspace)
    assert "a site needs" not in quiet.stderr


def test_a_study_that_is_none_is_not_submitted(tiny_federation, running_hub: Path) -> None:
    """A setting that the study cannot have is refused in one sentence, before anything is submitted."""
    done = submitted(running_hub, tiny_federation.workspace, "federation.rounds=0")
    assert done.exit_code == 1
    assert "federation.rounds" in done.output
    assert list((running_hub / "studies").iterdir()) == []


def test_commands_say_that_no_hub_runs(study: SubmittedStudy) -> None:
    """Without a running hub, submit, stop and resume say so, and change nothing."""
    hub = str(study.path.parent.parent)
    for words in (["submit", str(study.read().workspace)], ["stop"], ["resume"]):
        done = CliRunner().invoke(app, ["study", *words, "--hub", hub])
        assert (done.exit_code, "rounds-hub serve" in done.output) == (1, True)
    assert [one.read().state for one in [find_study(study.path.parent, None)]] == ["submitted"]


def test_an_unprepared_workspace_is_refused(tmp_path: Path) -> None:
    """A folder without a study is one sentence, and nothing is kept of it."""
    with pytest.raises(ConfigError, match=r"holds no study\.yaml; run `make prepare`"):
        prepared_study(tmp_path, {})
    with pytest.raises(StudyError, match="none yet"):
        find_study(tmp_path / "studies", None)
