"""The whole way on one machine: prepare, run by Flower, measure, report.

`python -m deploy.simulate demo` is what `make demo` calls; `prepare`, `teacher` and `compare` are its parts. The
exit status is 0 only when the run completed and its report was written.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from deploy.federation import Recipe, accept_weights, build_workspace, find_recipe
from deploy.flower_run import COMPLETED, run_app, superlink
from deploy.progress import Progress
from server.finish import About, finish_run
from server.prepare import with_public_digests, with_teacher, with_warm_start
from server.results import Summary
from server.run_folder import RunFolder, read_lines
from shared.config import StudyConfig, overridden, parse_study, read_yaml
from shared.errors import RoundsError, StudyError

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = Path("results")
_RUN_SECONDS = 3600
cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Workspace:
    """A prepared folder: the resolved study, simulated hospitals, weights, and what reports must say."""

    path: Path
    study: StudyConfig
    recipe: Recipe
    notes: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def num_sites(self) -> int:
        """Simulated hospitals."""
        return len(list((self.path / "sites").glob("*.yaml")))

    def about(self, started: float, seconds: dict[str, float]) -> About:
        """Say what a report needs to know of this data, and of the time taken since `started`."""
        federation = self.recipe.federation
        kind = "real" if self.recipe.source else "made"
        return About(
            kind,
            federation.title,
            self.notes,
            federation.attribution,
            _rounded(self.seconds | seconds),
            started,
        )


def prepare(recipe: Recipe, seed: int, progress: Progress, *, teacher_file: Path | None = None) -> Workspace:
    """Divide the data, fit or load the teacher, warm-start; kept by study and seed, and done only once."""
    key = f"{recipe.name}-{recipe.study.digest()[:8]}-s{seed}"
    path = (RESULTS / "workspaces" / key).resolve()
    kept = path / "prepared.json"
    if not (path / "study.yaml").is_file():
        progress.say(f"Preparing {recipe.federation.title} in {path.relative_to(Path.cwd())}")
        shutil.rmtree(path, ignore_errors=True)
        notes = build_workspace(recipe, path, seed=seed, progress=progress)
        torch.set_num_threads(os.cpu_count() or 1)
        started = time.monotonic()
        study = with_teacher(
            with_public_digests(recipe.study, path),
            path,
            recipe.federation.teacher_fit,
            seed=seed,
            progress=progress,
            teacher_file=teacher_file,
            teachers=RESULTS / "teachers",
        )
        fitted = time.monotonic()
        study = with_warm_start(study, path, seed=seed, progress=progress)
        seconds = {"teacher": fitted - started, "warm_start": time.monotonic() - fitted}
        kept.write_text(json.dumps({"notes": notes, "seconds": _rounded(seconds)}), encoding="utf-8")
        accept_weights(path, study)
        _link(RESULTS / "workspaces" / recipe.name, path)
    study = parse_study(read_yaml(path / "study.yaml"), "study.yaml")
    told = json.loads(kept.read_text(encoding="utf-8"))
    return Workspace(path, study, recipe, tuple(told["notes"]), told["seconds"])


def run(
    workspace: Workspace,
    progress: Progress,
    *,
    overrides: dict[str, Any] | None = None,
    label: str = "",
    site_state: Path | None = None,
    threads: int = 1,
) -> tuple[RunFolder, str]:
    """Run the study once by Flower; returns its folder and Flower's status."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = RunFolder((RESULTS / f"{workspace.study.name}-{stamp}{label}").resolve())
    folder.path.mkdir(parents=True)
    config: dict[str, str | int | float | bool] = {
        "workspace": str(workspace.path),
        "output": str(folder.path),
        "site-state": str(site_state.resolve()) if site_state else "",
        "threads": threads,
        **(overrides or {}),
    }

    def finished() -> bool:
        return any(line["event"] in {"study_completed", "study_failed"} for line in read_lines(folder.events))

    with superlink(folder.path / "superlink.log") as link:
        status = run_app(
            link,
            REPOSITORY,
            config,
            num_sites=workspace.num_sites,
            cpus_per_site=1,
            finished=finished,
            tick=lambda: progress.follow(folder.events, folder.rounds),
            deadline_seconds=_RUN_SECONDS,
        )
    progress.follow(folder.events, folder.rounds)
    if status != COMPLETED and not folder.study.is_file():
        raise StudyError(f"Flower says {status} before the study began; see app.log in {folder.path}")
    return folder, status


@cli.command()
def demo(
    data: Annotated[Path | None, typer.Option(help="data source; none: phantoms are made")] = None,
    study: Annotated[Path | None, typer.Option(help="study YAML instead of the one for this data")] = None,
    sites: Annotated[Path | None, typer.Option(help="YAML of the simulated hospitals")] = None,
    seed: Annotated[int, typer.Option(help="seed of phantoms, teacher and warm start")] = 0,
    site_state: Annotated[
        Path | None, typer.Option(help="keep site ledgers here: spend adds up over runs and the cap bites")
    ] = None,
    teacher_file: Annotated[Path | None, typer.Option(help="fitted teacher (safetensors)")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="field=value of the study")] = None,
) -> None:
    """Run the main job: prepare, federate under privacy by Flower, audit, report."""
    progress = Progress()
    started = time.monotonic()
    recipe = chosen(data, study, sites, set_ or [])
    workspace = prepare(recipe, seed, progress, teacher_file=teacher_file)
    prepared = time.monotonic()
    progress.say("Running the study by Flower")
    folder, status = run(workspace, progress, site_state=site_state)
    ran = time.monotonic()
    progress.say("Measuring, auditing and writing the report")
    torch.set_num_threads(os.cpu_count() or 1)
    seconds = {"prepare": prepared - started, "rounds": ran - prepared}
    summary = finish_run(folder, workspace.path, workspace.about(started, seconds), progress)
    _link(RESULTS / "latest", folder.path)
    _conclude(progress, folder, summary, status)


@cli.command("prepare")
def prepare_command(
    data: Annotated[Path | None, typer.Option(help="data source; none: phantoms are made")] = None,
    study: Annotated[Path | None, typer.Option(help="study YAML instead of the one for this data")] = None,
    sites: Annotated[Path | None, typer.Option(help="YAML of the simulated hospitals")] = None,
    seed: Annotated[int, typer.Option(help="seed of phantoms, teacher and warm start")] = 0,
    teacher_file: Annotated[Path | None, typer.Option(help="fitted teacher (safetensors)")] = None,
) -> None:
    """Make the workspace that `flwr run .` starts from: data, teacher, warm start."""
    progress = Progress()
    workspace = prepare(chosen(data, study, sites, []), seed, progress, teacher_file=teacher_file)
    progress.say(f"Prepared: {workspace.path}")


@cli.command()
def teacher(
    data: Annotated[Path | None, typer.Option(help="data source; none: phantoms are made")] = None,
    study: Annotated[Path | None, typer.Option(help="study YAML instead of the one for this data")] = None,
    sites: Annotated[Path | None, typer.Option(help="YAML of the simulated hospitals")] = None,
    seed: Annotated[int, typer.Option(help="seed of phantoms and teacher")] = 0,
) -> None:
    """Fit the teacher on the public cohort and keep it under results/teachers by the digest of its recipe."""
    progress = Progress()
    recipe = chosen(data, study, sites, [])
    with tempfile.TemporaryDirectory(prefix="rounds-") as scratch:
        path = Path(scratch)
        build_workspace(recipe, path, seed=seed, progress=progress)
        torch.set_num_threads(os.cpu_count() or 1)
        fitted = with_teacher(
            with_public_digests(recipe.study, path),
            path,
            recipe.federation.teacher_fit,
            seed=seed,
            progress=progress,
            teachers=RESULTS / "teachers",
        )
    progress.say(f"Teacher {fitted.models.teacher.name}: {fitted.models.teacher.sha256}")


def chosen(data: Path | None, study: Path | None, sites: Path | None, settings: list[str]) -> Recipe:
    """Find the recipe and apply `--set field=value` to its study."""
    recipe = find_recipe(data, study, sites)
    if not settings:
        return recipe
    pairs = [setting.partition("=") for setting in settings]
    changed = overridden(recipe.study.model_dump(mode="json"), {name: value for name, _, value in pairs})
    return replace(recipe, study=parse_study(changed, "--set"))


def _conclude(progress: Progress, folder: RunFolder, summary: Summary, status: str) -> None:
    """Name what was made, and end with the true exit status."""
    report = folder.path / "report.html"
    for name, figure in (("teacher", summary.test_auc.teacher), ("warm start", summary.test_auc.warm_start),
                         ("federated, private", summary.test_auc.federated_private)):  # fmt: skip
        if figure is not None and figure.value is not None:
            progress.say(f"  {name}: public test AUC {figure.value:.3f}")
    progress.say(f"  verdict: {summary.verdict} {' '.join(summary.reasons)}")
    progress.say(f"  {summary.seconds.get('total', 0):.0f} s in all")
    progress.say(f"Report: {report}\nFolder: {folder.path} (also results/latest)")
    if status != COMPLETED or summary.status != "completed":
        progress.say(
            f"The run did not complete: Flower says {status}; see {folder.path / 'superlink.log'}", "red"
        )
        raise typer.Exit(1)


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in seconds.items()}


def _link(link: Path, target: Path) -> None:
    """Point a symbolic link at a folder, replacing the one before at once."""
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_name(f".{link.name}.{os.getpid()}")
    part.symlink_to(os.path.relpath(target, link.parent.resolve()))
    part.replace(link)


def main() -> None:
    """Run a command; a person's mistake is one sentence on standard error and exit status 1."""
    try:
        cli()
    except RoundsError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
