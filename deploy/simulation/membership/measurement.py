"""What the demo's student tells of who trained it: membership inference with and without privacy, beside its baselines.

In: a prepared workspace of phantoms and its finished runs. Out: `membership.json` in the run's folder, and report, card
and records that show it. Members are training patients of the made hospitals, non-members their public test patients.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from deploy.simulation.comparison import finished_run
from deploy.simulation.membership.reference_students import OtherPatients
from deploy.simulation.membership.signals import (
    Asked,
    LogOdds,
    asked_about,
    kept_signals,
    of_memorised,
    of_reference,
    of_weights,
)
from deploy.simulation.simulated_hospitals import Recipe
from deploy.simulation.terminal_progress import Progress
from deploy.simulation.workspace import RESULTS, Workspace, prepare
from server.evaluation.finish_run import finish_run, written
from server.metrics.membership import FEWEST_REFERENCES, attacked
from server.metrics.membership_result import FILE, AttackedModel, Membership, ModelName, write_membership
from server.presentation.membership_statements import CAPTION, HEAD, membership_view
from server.runs.checkpoints import load_state
from server.runs.run_folder import RunFolder
from server.runs.summary import Summary, read_summary
from shared.config.files import read_study
from shared.config.study import StudyConfig
from shared.errors import ConfigError, StudyError

_OTHERS: dict[ModelName, ModelName] = {
    "released": "other_patients",
    "without_privacy": "other_patients_without_privacy",
}


@dataclass(frozen=True)
class Released:
    """The student of one recipe: the finished run's, or the same study without privacy, trained beside it."""

    name: ModelName
    study: StudyConfig
    epsilon: float | None
    run: RunFolder | None

    @property
    def key(self) -> str:
        """The name of its signals."""
        return self.name if self.run is None else f"{self.name}-{self.run.path.name}"


def measure_membership(
    recipe: Recipe,
    seed: int,
    progress: Progress,
    *,
    num_references: int,
    patients_per_site: int,
    teacher_file: Path | None = None,
    student_file: Path | None = None,
) -> tuple[RunFolder, Membership]:
    """Attack the study's student and what it must be compared with; write the figures into the run's folder."""
    if num_references < FEWEST_REFERENCES:
        raise ConfigError(
            f"--references is {num_references}, allowed is {FEWEST_REFERENCES} or more; raise it"
        )
    if recipe.source is not None:
        raise ConfigError(
            "DATA is real: reference students need other patients of the same hospitals, which only phantoms have; "
            "leave DATA out"
        )
    started = time.monotonic()
    workspace = prepare(
        recipe, seed, progress, teacher_file=teacher_file, student_file=student_file, to_run=True
    )
    folder, summary = judged_run(workspace, progress)
    study = read_study(folder.study)
    runs = [Released("released", study, _most(summary), folder)]
    if study.privacy.enabled:
        runs.append(Released("without_privacy", _without_privacy(study), None, None))
    asked = asked_about(workspace, patients_per_site)
    signals = _signals(workspace, seed, asked, runs, num_references, progress)
    progress.say("Attacking")
    found = Membership(
        student=summary.digests["student"],
        data=recipe.federation.title,
        views=asked.labels.shape[1],
        models=tuple(attacked_models(asked, runs, signals, num_references)),
        seconds=round(time.monotonic() - started, 1),
    )
    write_membership(folder.path, found)
    written(folder, study, summary)
    return folder, found


def tell_membership(folder: RunFolder, found: Membership, progress: Progress) -> None:
    """Print the table, the finding, and where both stand."""
    view = membership_view(found, is_made=True)
    progress.table(CAPTION, HEAD, view.rows)
    for line in (view.finding, *view.notes):
        progress.say(line)
    progress.say(f"  {found.seconds or 0:.0f} s in all")
    progress.say(f"Figures: {folder.path / FILE}\nReport: {folder.path / 'report.html'}")


def judged_run(workspace: Workspace, progress: Progress) -> tuple[RunFolder, Summary]:
    """Return the finished run of the workspace's study, run and judged where it is not yet."""
    folder = finished_run(workspace, progress, {})
    if not (folder.path / "summary.json").is_file() or read_summary(folder.path).verdict == "none":
        finish_run(folder, workspace.path, workspace.about(time.monotonic(), {}), progress)
    summary = read_summary(folder.path)
    if "student" not in summary.digests:
        raise StudyError(f"{folder.path}: the run has no student to attack; mend what its report names first")
    return folder, summary


def attacked_models(
    asked: Asked, runs: list[Released], signals: dict[str, LogOdds], num_references: int
) -> Iterator[AttackedModel]:
    """Yield the released students first, each followed by one of its recipe that saw other patients."""

    def one(name: ModelName, student: str, recipe: Released, epsilon: float | None) -> AttackedModel:
        references = [signals[_reference(recipe, number)] for number in range(num_references)]
        if name == "memorised":  # asked about the random labels that it learned
            by_coin = [one * asked.coins for one in references]
            divided = asked.divided(signals[student] * asked.coins, by_coin, asked.memorised)
        else:
            divided = asked.divided(signals[student], references, asked.members)
        return AttackedModel(
            model=name,
            epsilon=epsilon,
            num_references=num_references,
            attacks=attacked(*divided, delta=recipe.study.privacy.delta),
        )

    for run in runs:
        yield one(run.name, run.key, run, run.epsilon)
        yield one(_OTHERS[run.name], _reference(run, num_references), run, 0.0)
    yield one("warm_start", "warm_start", runs[0], 0.0)
    yield one("memorised", "memorised", runs[-1], None)


def _signals(
    workspace: Workspace,
    seed: int,
    asked: Asked,
    runs: list[Released],
    num_references: int,
    progress: Progress,
) -> dict[str, LogOdds]:
    """Return the signals (N,) of every student by name; one reference more than asked for is attacked itself."""
    others = OtherPatients(RESULTS / "membership" / f"{workspace.path.name}-other", workspace, seed)
    others.make(progress)
    jobs: dict[str, Callable[[], partial[LogOdds]]] = {}
    for run in runs:
        jobs[run.key] = partial(_ask_released, asked, workspace, run, others)
        for number in range(num_references + 1):
            jobs[_reference(run, number)] = partial(_ask_reference, asked, workspace, run, others, number)
    jobs["warm_start"] = lambda: partial(of_weights, asked, workspace.path, runs[0].study, {})
    jobs["memorised"] = lambda: partial(of_memorised, asked, workspace.path, runs[0].study)
    counts = f"{asked.num_members}-{len(asked.labels)}"
    store = RESULTS / "membership" / f"{workspace.path.name}-{workspace.study.digest()[:8]}-{counts}"
    others.fill_caches([run.study for run in runs], progress)
    return kept_signals(store, jobs, progress)


def _ask_released(
    asked: Asked, workspace: Workspace, run: Released, others: OtherPatients
) -> partial[LogOdds]:
    study = run.study
    if run.run is None:
        return partial(of_reference, asked, workspace.path, study, others.own_sites(study))
    state = load_state(run.run.checkpoint, study.digest())
    if state is None:
        raise StudyError(f"{run.run.path}: holds no checkpoint of its study; run the study again")
    return partial(of_weights, asked, workspace.path, study, state.weights)


def _ask_reference(
    asked: Asked, workspace: Workspace, run: Released, others: OtherPatients, number: int
) -> partial[LogOdds]:
    study = run.study
    return partial(of_reference, asked, workspace.path, study, others.sites(study, number))


def _without_privacy(study: StudyConfig) -> StudyConfig:
    """Return the same study without noise, which the made hospitals allow for this measurement alone."""
    return study.model_copy(update={"privacy": study.privacy.model_copy(update={"enabled": False})})


def _reference(run: Released, number: int) -> str:
    return f"{_OTHERS[run.name]}-{number}"


def _most(summary: Summary) -> float | None:
    """Return the most that a ledger states to have spent; None where one states no bound, or none states anything."""
    spent = list(summary.epsilon.values())
    known = [value for value in spent if value is not None]
    return max(known) if known and len(known) == len(spent) else None
