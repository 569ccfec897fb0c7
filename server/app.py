"""The ServerApp: translates Flower's run configuration and Grid into a study, and nothing else.

Reads the prepared workspace (study, public data, weights), applies `--run-config` overrides, runs the study and
leaves its records in the output folder. Report, audit and export are made later by the hub's own process.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.superlink.grid import InMemoryGrid

from server.exchange import Exchange
from server.feed.sender import feeding
from server.round_maps import RoundMaps
from server.run_folder import RunFolder
from server.scoring import round_score
from server.study import run_study
from shared.arrays import to_arrays
from shared.config import Privacy, StudyConfig
from shared.config_files import overridden, parse_site, parse_study, read_yaml, write_yaml
from shared.errors import ConfigError, RoundsError
from shared.models.initial import unpack_initial
from shared.models.trainable import trainable_names
from shared.models.weights import find_weights, load_weights
from shared.privacy.accountant import calibrate, spend_against
from shared.privacy.mechanisms import PoissonGaussian
from shared.site_config import check_declared

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
            log.error("%s", error)
            if folder.path.is_dir():
                folder.record_event("study_failed", why=str(error))
            raise


def _run(grid: Grid, run: Mapping[str, Any], folder: RunFolder) -> None:
    workspace = prepared(Path(str(run["workspace"])))
    folder.path.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(int(run["threads"]))
    asked = Path(str(run["study"])) if run.get("study") else workspace / "study.yaml"
    study = submitted_study(asked, {k: v for k, v in run.items() if k not in _OWN_KEYS})
    check_made_sites(workspace, study)
    write_yaml(folder.study, study)
    compact, _ = unpack_initial(study, initial_state(workspace, study))
    parameters = dict(compact.named_parameters())
    initial = to_arrays(
        {name: parameters[name] for name in trainable_names(compact, study.privacy.trainable)}
    )
    score = round_score(workspace, study, compact)
    with folder.held(_PREDECESSOR_SECONDS):
        in_memory = isinstance(grid, InMemoryGrid)  # Flower's simulation, all in one process
        look = RoundMaps(folder, study, workspace, compact)
        run_study(study, initial, Exchange(grid), folder, score, look, simulation=in_memory)


def prepared(workspace: Path) -> Path:
    """Return the workspace when `make prepare` has filled it."""
    if not (workspace / "study.yaml").is_file():
        raise ConfigError(
            f"workspace is {str(workspace)!r}: holds no study.yaml; run `make prepare` first, or give another with "
            "--run-config 'workspace=\"/absolute/path\"'"
        )
    return workspace.resolve()


def submitted_study(file: Path, overrides: dict[str, Any]) -> StudyConfig:
    """Return the study of a file with overrides by dotted name, its noise calibrated where the study leaves it open."""
    raw = overridden(read_yaml(file), overrides)
    study = parse_study(raw, "study.yaml with --run-config")
    privacy = study.privacy
    steps = study.federation.rounds * study.federation.steps
    if not privacy.enabled:
        return study
    if privacy.noise_multiplier is not None:
        _check_stated(privacy, privacy.noise_multiplier, steps)
        return study
    sigma = calibrate(privacy.epsilon, privacy.delta, privacy.sample_rate, steps)
    return parse_study(
        overridden(raw, {"privacy.noise_multiplier": sigma}), "study.yaml, its noise calibrated"
    )


def _check_stated(privacy: Privacy, sigma: float, steps: int) -> None:
    """Refuse a given noise multiplier under which a site would spend more than the study states."""
    rounds = PoissonGaussian(noise_multiplier=sigma, sample_rate=privacy.sample_rate, steps=steps)
    spent = spend_against([rounds], privacy.epsilon, privacy.delta).epsilon
    if spent > privacy.epsilon:
        raise ConfigError(
            f"privacy.noise_multiplier is {sigma:g}: {steps} steps would spend epsilon {spent:.3g}, allowed is at most "
            f"privacy.epsilon ({privacy.epsilon:g}); leave it out, so that it is calibrated, or raise privacy.epsilon"
        )


def check_made_sites(workspace: Path, study: StudyConfig) -> None:
    """Refuse what a simulation's sites would refuse one by one; of real hospitals the workspace holds no file."""
    for path in sorted((workspace / "sites").glob("*.yaml")):
        site = parse_site(read_yaml(path), path.name)
        check_declared(study, site.declared_patients, site.name)


def initial_state(workspace: Path, study: StudyConfig) -> dict[str, torch.Tensor]:
    """Load the warm-started weights that the study names."""
    digest = study.models.initial_sha256
    if digest is None:
        raise ConfigError("models.initial_sha256 is missing; run `make prepare` to make the warm start")
    return load_weights(find_weights(workspace / "weights", digest), digest)
