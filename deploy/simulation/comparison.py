"""Comparisons beside a finished run: the same data, test set and warm start, trained in other ways.

Each item is one entry of `items`: its test probabilities are kept under results/compare/<workspace>/, so an
interrupted comparison goes on where it stopped. Items that need a federation are real Flower runs.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from deploy.simulation.result_cache import Probabilities, kept
from deploy.simulation.simulated_hospitals import Recipe
from deploy.simulation.single_site import sites_alone
from deploy.simulation.terminal_progress import Progress
from deploy.simulation.workspace import RESULTS, Workspace, link_to, prepare, run, use_threads_that_pay
from server.evaluation.finish_run import finish_run, written
from server.flower.run_control import COMPLETED
from server.metrics.measured import Metrics
from server.presentation.model_names import CENTRAL_EPOCHS
from server.public_data.baselines import Public, merged_student
from server.public_data.images import PublicImages, load_public, predict_logits, softmax
from server.public_data.preparation import load_teacher
from server.public_data.training import WarmStarted, train_further
from server.runs.checkpoints import load_state
from server.runs.run_folder import RunFolder
from server.runs.summary import ByModel, Paired, SeedResult, Summary, auc_of, read_summary
from shared.config.files import overridden, parse_study, read_site, read_study, write_yaml
from shared.config.study import Method, StudyConfig
from shared.data.patients import Patient
from shared.data.sources import read_source
from shared.errors import StudyError
from shared.models.compact import CompactModel
from shared.models.initial import unpack_initial

METHODS: tuple[Method, ...] = ("supervised", "kd", "hybrid", "medtex")
WITHOUT_PRIVACY = {"privacy.enabled": False}
Prepared = Callable[[Recipe, int], Workspace]  # by recipe and seed


@dataclass(frozen=True)
class Compared:
    """Test probabilities by dotted key, as in the summary (`site_alone.film`, `methods.kd`)."""

    found: dict[str, Probabilities]

    def by_model(self, measure: Callable[[Probabilities], Metrics]) -> ByModel[Metrics]:
        """Return the metrics of everything compared, in the summary's form."""
        plain: dict[str, Any] = {}
        for key, probabilities in self.found.items():
            group, _, member = key.partition(".")
            if member:
                plain.setdefault(group, {})[member] = measure(probabilities)
            else:
                plain[group] = measure(probabilities)
        return ByModel[Metrics].model_validate(plain)


def central(public: Public, study: StudyConfig, sites: list[Path], progress: Progress) -> Probabilities:
    """Train on all sites' images in one place, without privacy: the whole compact model, from the warm start."""
    pooled = pooled_images(study, sites)
    started = WarmStarted(*unpack_initial(study, public.initial()))
    teacher = load_teacher(public.workspace, study)
    compact = train_further(study, started, teacher, pooled, epochs=CENTRAL_EPOCHS, progress=progress)
    return softmax(predict_logits(compact, public.test))


def pooled_images(study: StudyConfig, sites: list[Path]) -> PublicImages:
    """Read the training images of all simulated sites."""
    patients: list[Patient] = []
    for path in sites:
        site = read_site(path)
        patients += [p for p in read_source(site.data.source, study.task) if p.split == "train"]
    return load_public(patients, study.task)


def of_run(folder: RunFolder, public: Public) -> Probabilities:
    """Test probabilities of the merged student of a finished run."""
    return softmax(predict_logits(student_of(folder, public), public.test))


def student_of(folder: RunFolder, public: Public) -> CompactModel:
    """Load the merged student of a finished run."""
    study = read_study(folder.study)
    state = load_state(folder.checkpoint, study.digest())
    if state is None:
        raise FileNotFoundError(folder.checkpoint)
    return merged_student(study, public.initial(), state)


def paired_with(public: Public, own: str, found: dict[str, Probabilities]) -> tuple[Paired, ...]:
    """Return the paired difference of the study's own student to every other model."""
    return tuple(
        Paired(a=own, b=other, difference=public.difference(found[own], probabilities))
        for other, probabilities in found.items()
        if other != own
    )


def with_comparison(summary: Summary, public: Public, compared: Compared, own: str) -> Summary:
    """Return the summary with everything compared added to its tables."""
    metrics = compared.by_model(public.metrics)
    return summary.model_copy(
        update={
            "metrics": metrics,
            "test_auc": auc_of(metrics),
            "paired": paired_with(public, own, compared.found),
        }
    )


def site_files(workspace: Path) -> Iterator[Path]:
    """Return the simulated hospitals' files in name order."""
    return iter(sorted((workspace / "sites").glob("*.yaml")))


def add_comparisons(
    recipe: Recipe,
    seeds: Sequence[int],
    progress: Progress,
    *,
    teacher_file: Path | None = None,
    student_file: Path | None = None,
) -> RunFolder:
    """Add every comparison for the first seed, and the main ones for the others, to the first seed's report."""
    first, *others = seeds
    started = time.monotonic()
    prepared = partial(prepare, progress=progress, teacher_file=teacher_file, student_file=student_file)
    folder, summary = _compared(recipe, first, prepared, progress, everything=True)
    results = [_seed_result(recipe, seed, prepared, progress) for seed in others]
    if others:
        results.insert(0, SeedResult(seed=first, test_auc=summary.test_auc, paired=summary.paired))
    study = read_study(folder.study)
    seconds = summary.seconds | {"compare": round(time.monotonic() - started, 1)}
    written(folder, study, summary.model_copy(update={"seeds": tuple(results), "seconds": seconds}))
    return folder


def _seed_result(recipe: Recipe, seed: int, prepared: Prepared, progress: Progress) -> SeedResult:
    _, summary = _compared(recipe, seed, prepared, progress, everything=False)
    return SeedResult(seed=seed, test_auc=summary.test_auc, paired=summary.paired)


def _compared(
    recipe: Recipe, seed: int, prepared: Prepared, progress: Progress, *, everything: bool
) -> tuple[RunFolder, Summary]:
    """Run what one seed needs and return its main run with the comparisons in its summary."""
    started = time.monotonic()
    workspace = prepared(recipe, seed)
    folder = finished_run(workspace, progress, {})
    if not (folder.path / "summary.json").is_file() or read_summary(folder.path).verdict == "none":
        finish_run(folder, workspace.path, workspace.about(started, {}), progress)
    resolved = read_study(folder.study)
    public = Public.load(workspace.path, workspace.study)
    store = RESULTS / "compare" / f"{workspace.path.name}-{workspace.study.digest()[:8]}"
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
        use_threads_that_pay(resolved)
        item("central", lambda: central(public, resolved, files, progress))
        for method in METHODS:
            item(f"methods.{method}", partial(_of_method, recipe, method, seed, prepared, progress))
    return folder, with_comparison(read_summary(folder.path), public, Compared(found), "federated_private")


def _of_method(
    recipe: Recipe, method: str, seed: int, prepared: Prepared, progress: Progress
) -> Probabilities:
    """Prepare and run the study with another method: its own warm start, the same teacher and budget."""
    changed = overridden(recipe.study.model_dump(mode="json"), {"distillation.method": method})
    workspace = prepared(replace(recipe, study=parse_study(changed, method)), seed)
    folder = finished_run(workspace, progress, {})
    return of_run(folder, Public.load(workspace.path, workspace.study))


def _without_privacy(workspace: Workspace, progress: Progress) -> RunFolder:
    """Run the same study without noise, at hospitals that allow it."""
    open_path = workspace.path.with_name(f"{workspace.path.name}-open")
    (open_path / "sites").mkdir(parents=True, exist_ok=True)
    for name in ("weights", "public", "study.yaml"):
        if not (open_path / name).exists():
            (open_path / name).symlink_to(workspace.path / name)
    for path in site_files(workspace.path):
        site = read_site(path)
        write_yaml(open_path / "sites" / path.name, site.model_copy(update={"allow_without_privacy": True}))
    return finished_run(replace(workspace, path=open_path), progress, WITHOUT_PRIVACY)


def finished_run(workspace: Workspace, progress: Progress, overrides: dict[str, Any]) -> RunFolder:
    """Return the run of this workspace's study, running it when there is none that completed."""
    link = workspace.main_run
    if link.exists():
        return RunFolder(link.resolve())
    progress.say(f"Running {workspace.study.distillation.method} by Flower {overrides or ''}")
    folder, status = run(
        workspace, progress, overrides=overrides, label=f"-{workspace.study.distillation.method}"
    )
    if status != COMPLETED:
        raise StudyError(f"Flower says {status}; see {folder.path}")
    link_to(link, folder.path)
    return folder
