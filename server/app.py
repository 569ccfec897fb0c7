"""The ServerApp: translates Flower's run configuration and Grid into a study, and nothing else.

Reads the prepared workspace (study, public data, weights), applies `--run-config` overrides, runs the study and
leaves its records in the output folder. Report, audit and export are made later by the hub's own process.
"""

import logging
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from server.audit.round_maps import RoundMaps
from server.feed.sender import feeding
from server.flower.grids import is_in_memory
from server.rounds.exchange import Exchange
from server.rounds.feasibility import MadeSite, check_made_sites, check_test_set
from server.rounds.merging import merge_of
from server.rounds.round_score import round_score
from server.rounds.study import run_study
from server.runs.run_folder import RunFolder
from server.studies.resolved_study import asked_study
from shared.config.files import parse_site, read_yaml, write_yaml
from shared.config.study import StudyConfig
from shared.errors import ConfigError, RoundsError, StudyError
from shared.models.arrays import to_arrays
from shared.models.initial import unpack_initial
from shared.models.trainable import trainable_names
from shared.models.weights import find_weights, load_weights
from shared.terminal.system_errors import system_sentence

log = logging.getLogger("rounds.hub")
app = ServerApp()
_PREDECESSOR_SECONDS = 120.0  # Flower gives up on a run after 60 s without a sign of life
_OWN_KEYS = ("workspace", "study", "output", "site-state", "threads")


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run one study; a person's mistake ends the run with one sentence in the events and the log."""
    run = context.run_config
    folder = RunFolder(Path(str(run["output"])))
    with feeding(folder.path):
        try:
            _run(grid, run, folder)
        except RoundsError as error:
            _failed(folder, str(error))
            raise
        except OSError as error:
            _failed(folder, system_sentence(error))
            raise StudyError(system_sentence(error)) from error


def _failed(folder: RunFolder, why: str) -> None:
    """Write down why the study ended, where that can be written."""
    log.error("%s", why)
    with suppress(OSError):
        if folder.path.is_dir():
            folder.record_event("study_failed", why=why)


def _run(grid: Grid, run: Mapping[str, Any], folder: RunFolder) -> None:
    workspace = prepared(Path(str(run["workspace"])))
    folder.path.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(int(run["threads"]))
    asked = Path(str(run["study"])) if run.get("study") else workspace / "study.yaml"
    study = asked_study(asked, {k: v for k, v in run.items() if k not in _OWN_KEYS}, "--run-config")
    in_memory = is_in_memory(grid)
    if (
        in_memory
    ):  # made hospitals are nothing to a study of real ones, which may start from the same workspace
        check_made_sites(study, made_sites(workspace))
    check_test_set(workspace, study.task)
    write_yaml(folder.study, study)
    compact, _ = unpack_initial(study, initial_state(workspace, study))
    parameters = dict(compact.named_parameters())
    initial = to_arrays(
        {name: parameters[name] for name in trainable_names(compact, study.privacy.trainable)}
    )
    score = round_score(workspace, study, compact)
    with folder.held(_PREDECESSOR_SECONDS):
        look = RoundMaps(folder, study, workspace, compact)
        exchange, merge = Exchange(grid), merge_of(study, compact)
        run_study(study, initial, exchange, folder, score, look, merge=merge, simulation=in_memory)


def prepared(workspace: Path) -> Path:
    """Return the workspace when `make prepare` has filled it."""
    if not (workspace / "study.yaml").is_file():
        raise ConfigError(
            f"workspace is {str(workspace)!r}: holds no study.yaml; run `make prepare` first, or give another with "
            "--run-config 'workspace=\"/absolute/path\"'"
        )
    return workspace.resolve()


def made_sites(workspace: Path) -> list[MadeSite]:
    """Return the hospitals that were made beside the public sets; of real ones the workspace holds no file."""
    files = sorted((workspace / "sites").glob("*.yaml"))
    sites = [parse_site(read_yaml(path), path.name) for path in files]
    return [MadeSite(one.name, one.declared_patients, one.cap, one.allow_without_privacy) for one in sites]


def initial_state(workspace: Path, study: StudyConfig) -> dict[str, torch.Tensor]:
    """Load the warm-started weights that the study names."""
    digest = study.models.initial_sha256
    if digest is None:
        raise ConfigError("models.initial_sha256 is missing; run `make prepare` to make the warm start")
    return load_weights(find_weights(workspace / "weights", digest), digest)
