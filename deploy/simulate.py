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
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from deploy.compare import (
    METHODS,
    Compared,
    Probabilities,
    central,
    kept,
    of_run,
    site_files,
    sites_alone,
    with_comparison,
)
from deploy.federation import Recipe, accept_weights, build_workspace, find_recipe
from deploy.flower_run import COMPLETED, run_app, superlink
from deploy.progress import Progress
from server.finish import About, Public, finish_run, written
from server.prepare import with_public_digests, with_teacher, with_warm_start
from server.results import SeedResult, Summary, read_summary
from server.run_folder import RunFolder, read_lines
from shared.config import StudyConfig, overridden, parse_site, parse_study, read_yaml, write_yaml
from shared.errors import RoundsError, StudyError

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = Path("results")
_RUN_SECONDS = 3600
WITHOUT_PRIVACY = {"privacy.enabled": False}
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
        use_all_threads()
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
        told = {
            "data_kind": "real" if recipe.source else "made",
            "title": recipe.federation.title,
            "attribution": recipe.federation.attribution,
            "notes": notes,
            "seconds": _rounded(seconds),
        }
        kept.write_text(json.dumps(told), encoding="utf-8")
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
    if status == COMPLETED and site_state is None:
        _link(workspace.path / "run-main", folder.path)  # what `make compare` compares with
    ran = time.monotonic()
    progress.say("Measuring, auditing and writing the report")
    use_all_threads()
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
        use_all_threads()
        fitted = with_teacher(
            with_public_digests(recipe.study, path),
            path,
            recipe.federation.teacher_fit,
            seed=seed,
            progress=progress,
            teachers=RESULTS / "teachers",
        )
    progress.say(f"Teacher {fitted.models.teacher.name}: {fitted.models.teacher.sha256}")


@cli.command()
def compare(
    data: Annotated[Path | None, typer.Option(help="data source; none: phantoms are made")] = None,
    study: Annotated[Path | None, typer.Option(help="study YAML instead of the one for this data")] = None,
    sites: Annotated[Path | None, typer.Option(help="YAML of the simulated hospitals")] = None,
    seeds: Annotated[
        list[int] | None, typer.Option(help="seeds; all comparisons for the first of them")
    ] = None,
) -> None:
    """Add central, site-alone, without-privacy and per-method figures to the report; goes on where it stopped.

    The first seed gets every comparison; further seeds repeat the warm start, the private federation and each
    site alone under the same budget.
    """
    progress = Progress()
    use_all_threads()
    recipe = chosen(data, study, sites, [])
    first, *others = seeds or [0]
    started = time.monotonic()
    folder, summary = _compared(recipe, first, progress, everything=True)
    results = [_seed_result(recipe, seed, progress) for seed in others]
    if others:
        results.insert(0, SeedResult(seed=first, test_auc=summary.test_auc, paired=summary.paired))
    resolved = parse_study(read_yaml(folder.study), "study.yaml")
    seconds = summary.seconds | {"compare": round(time.monotonic() - started, 1)}
    written(folder, resolved, summary.model_copy(update={"seeds": tuple(results), "seconds": seconds}))
    _link(RESULTS / "latest", folder.path)
    progress.say(f"Report with comparisons: {folder.path / 'report.html'}")


def _seed_result(recipe: Recipe, seed: int, progress: Progress) -> SeedResult:
    _, summary = _compared(recipe, seed, progress, everything=False)
    return SeedResult(seed=seed, test_auc=summary.test_auc, paired=summary.paired)


def _compared(
    recipe: Recipe, seed: int, progress: Progress, *, everything: bool
) -> tuple[RunFolder, Summary]:
    """Run what one seed needs and return its main run with the comparisons in its summary."""
    started = time.monotonic()
    workspace = prepare(recipe, seed, progress)
    folder = _finished_run(workspace, progress, "main", {})
    if not (folder.path / "summary.json").is_file():
        finish_run(folder, workspace.path, workspace.about(started, {}), progress)
    resolved = parse_study(read_yaml(folder.study), "study.yaml")
    public = Public.load(workspace.path, workspace.study)
    store = RESULTS / "compare" / workspace.path.name
    files = list(site_files(workspace.path))

    def item(key: str, compute: Callable[[], Probabilities]) -> None:
        found[key] = kept(store, key, compute, progress)

    found = public.baselines(study=workspace.study)
    item("federated_private", lambda: of_run(folder, public))
    alone = partial(sites_alone, public, resolved, files, store=store, progress=progress)
    found |= alone(private=True)
    if everything:
        item("federated", lambda: of_run(_without_privacy(workspace, progress), public))
        found |= alone(private=False)
        item("central", lambda: central(public, resolved, files, progress))
        for method in METHODS:
            item(f"methods.{method}", partial(_of_method, recipe, method, seed, progress))
    return folder, with_comparison(read_summary(folder.path), public, Compared(found), "federated_private")


def _of_method(recipe: Recipe, method: str, seed: int, progress: Progress) -> Probabilities:
    """Prepare and run the study with another method: its own warm start, the same teacher and budget."""
    changed = overridden(recipe.study.model_dump(mode="json"), {"distillation.method": method})
    workspace = prepare(replace(recipe, study=parse_study(changed, method)), seed, progress)
    folder = _finished_run(workspace, progress, "main", {})
    return of_run(folder, Public.load(workspace.path, workspace.study))


def _without_privacy(workspace: Workspace, progress: Progress) -> RunFolder:
    """Run the same study without noise, at hospitals that allow it."""
    open_path = workspace.path.with_name(f"{workspace.path.name}-open")
    (open_path / "sites").mkdir(parents=True, exist_ok=True)
    for name in ("weights", "public", "study.yaml"):
        if not (open_path / name).exists():
            (open_path / name).symlink_to(workspace.path / name)
    for path in site_files(workspace.path):
        site = parse_site(read_yaml(path), path.name)
        write_yaml(open_path / "sites" / path.name, site.model_copy(update={"allow_without_privacy": True}))
    return _finished_run(replace(workspace, path=open_path), progress, "main", WITHOUT_PRIVACY)


def _finished_run(
    workspace: Workspace, progress: Progress, name: str, overrides: dict[str, Any]
) -> RunFolder:
    """Return the run of this workspace under this name, running it when there is none that completed."""
    link = workspace.path / f"run-{name}"
    if link.exists():
        return RunFolder(link.resolve())
    progress.say(f"Running {workspace.study.distillation.method} by Flower {overrides or ''}")
    folder, status = run(
        workspace, progress, overrides=overrides, label=f"-{workspace.study.distillation.method}"
    )
    if status != COMPLETED:
        raise StudyError(f"Flower says {status}; see {folder.path}")
    _link(link, folder.path)
    return folder


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


def use_all_threads() -> None:
    """Use the threads of OMP_NUM_THREADS, else all cores: nothing else of ours runs beside this stage."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))


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
