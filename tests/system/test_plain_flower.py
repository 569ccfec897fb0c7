"""`flwr run .` as docs/flower.md has it: Flower's own SuperLink, its own environment, a small study."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from server.runs.checkpoints import load_state
from server.runs.run_folder import read_lines
from shared.config.files import parse_study, read_study, write_yaml
from shared.processes.flower_environment import bin_folder
from shared.processes.process_groups import end_processes
from shared.processes.supervisor import free_port
from tests.conftest import TinyFederation, make_tiny_federation
from tests.readout_study import readout_miniature

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 500
SLOW = "Failed to start local SuperLink within"  # Flower gives it 15 s, too little where many others compute
TRIES = 4
QUIET = ("FLWR_TELEMETRY_ENABLED=0", "FLWR_DISABLE_UPDATE_CHECK=1",
         "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1")  # fmt: skip
OF_OURS = ("RAY_", "FLWR_")  # a person's shell has none of the switches that our own runs have


@contextmanager
def own_flower(home: Path) -> Iterator[dict[str, str]]:
    """Lend the environment of a person who follows that page; ends the SuperLink that Flower leaves running."""
    usual = {name: value for name, value in os.environ.items() if not name.startswith(OF_OURS)}
    path = f"{bin_folder()}{os.pathsep}{usual.get('PATH', '')}"
    ports = {  # Flower's own are one for the whole machine: another person's SuperLink may listen there
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(free_port()),
        "FLWR_LOCAL_CONTROL_API_PORT": str(free_port()),
    }
    own = {"FLWR_HOME": str(home), "HOME": str(home), "PATH": path}
    environment = usual | dict(one.split("=") for one in QUIET) | ports | own
    try:
        yield environment
    finally:
        end_processes(one for one in psutil.process_iter() if _has_home(one, str(home)))


def _has_home(process: psutil.Process, home: str) -> bool:
    try:
        return process.environ().get("FLWR_HOME") == home
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


@pytest.fixture(scope="module")
def with_readout(tmp_path_factory: pytest.TempPathFactory) -> TinyFederation:
    """Make the miniature whose sites train a readout."""
    return make_tiny_federation(tmp_path_factory.mktemp("readout"), readout_miniature())


@pytest.mark.parametrize(
    ("where", "made"), [("in the repository", "tiny_federation"), ("elsewhere", "with_readout")]
)
def test_a_small_study_completes(
    request: pytest.FixtureRequest, tmp_path: Path, where: str, made: str
) -> None:
    """The smallest study with noise to calibrate completes, in the repository, and elsewhere with a readout."""
    tiny_federation: TinyFederation = request.getfixturevalue(made)
    workspace, output, home = tmp_path / "workspace", tmp_path / "output", tmp_path / "home"
    home.mkdir()
    workspace.mkdir()
    for part in tiny_federation.workspace.iterdir():
        (workspace / part.name).symlink_to(part)
    (workspace / "study.yaml").unlink()
    study = tiny_federation.changed(privacy={"noise_multiplier": None}, federation={"rounds": 1})
    write_yaml(workspace / "study.yaml", parse_study(study.model_dump(mode="json")))
    app, folder = (".", REPOSITORY) if where == "in the repository" else (str(REPOSITORY), tmp_path)
    config = f'workspace="{workspace}" output="{output}"'
    federation = "num-supernodes=3 client-resources-num-cpus=1"
    with own_flower(home) as environment:
        for _ in range(TRIES):
            done = subprocess.run(
                ["flwr", "run", app, "--stream", "--federation-config", federation, "--run-config", config],  # noqa: S607 - as a person types it
                cwd=folder, env=environment, timeout=SECONDS, capture_output=True, text=True, check=False,
            )  # fmt: skip
            if SLOW not in done.stdout + done.stderr:
                break
    events = [line["event"] for line in read_lines(output / "events.jsonl")]
    assert events[-1:] == ["study_completed"], done.stdout[-3000:] + done.stderr[-3000:]
    assert [line["round"] for line in read_lines(output / "rounds.jsonl")] == [0, 1]
    state = load_state(output / "checkpoint.safetensors", read_study(output / "study.yaml").digest())
    assert state is not None
    assert any((state.weights[name] != array).any() for name, array in tiny_federation.initial.items())
    assert set(state.carried) == ({"filter.variance"} if made == "with_readout" else set())
