"""A prepared workspace and its runs by Flower: made once for a study and seed, then started from at will."""

import hashlib
import itertools
import json
import os
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from deploy.simulation.exclusive_lock import alone_at
from deploy.simulation.local_superlink import run_app, superlink
from deploy.simulation.simulated_hospitals import (
    Recipe,
    accept_weights,
    build_workspace,
    check_recipe,
    drawing_digest,
)
from deploy.simulation.source_digest import contents_digest
from deploy.simulation.terminal_progress import Progress
from server.evaluation.run_records import About
from server.flower.run_control import COMPLETED, RunConfig
from server.public_data.preparation import (
    check_student,
    given_teacher,
    with_public_digests,
    with_teacher,
    with_warm_start,
)
from server.rounds.feasibility import check_test_set
from server.runs.run_folder import RunFolder
from shared.config.files import read_study, write_yaml, yaml_text
from shared.config.study import StudyConfig, Task
from shared.errors import DataError, StudyError
from shared.models.weights import file_sha256
from shared.whole_file import whole_file

REPOSITORY = Path(__file__).resolve().parents[2]
RESULTS = Path("results")
TEACHERS = RESULTS / "teachers"
_PREPARED = "prepared.json"
_PREPARING = ("task", "models", "distillation", "warm_start")  # the groups of a study that preparing reads
_RUN_SECONDS = 3600
_ONE_THREAD_UP_TO = 96  # pixels


@dataclass(frozen=True)
class Workspace:
    """A prepared folder: the resolved study, simulated hospitals if any, weights, and what reports must say."""

    path: Path
    study: StudyConfig
    recipe: Recipe
    notes: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def main_run(self) -> Path:
        """The link to the finished run of just this study, which comparisons start from."""
        return self.path / f"run-{self.study.digest()[:8]}"

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
            rounded(self.seconds | seconds),
            started,
        )


def prepare(
    recipe: Recipe,
    seed: int,
    progress: Progress,
    *,
    teacher_file: Path | None = None,
    student_file: Path | None = None,
    publish: bool = False,
    to_run: bool = False,
) -> Workspace:
    """Divide the data, fit or load the teacher, warm-start; kept and done only once.

    A workspace is kept by seed and by what preparing depends on, the data's content among it: other rounds, budgets or
    limits start from the same one. Nothing in it changes later but, with `publish`, the study of plain `flwr run .`;
    a second process that wants it waits until it is made. With `to_run`, test patients by whom no student can be judged
    are refused before anything is fitted; else they are a note, for a workspace may be prepared for other runs.
    """
    check_recipe(recipe)
    holds = "" if recipe.source is None else _contents(recipe.source, recipe, progress)
    shown = RESULTS / "workspaces" / workspace_name(recipe, seed, teacher_file, holds)
    path = shown.resolve()
    kept = path / _PREPARED
    if student_file is not None or not kept.is_file():
        check_student(recipe.study, student_file)
    if not kept.is_file():
        given_teacher(recipe.study, teacher_file, TEACHERS)  # refuses before anything is made
    with alone_at(path, lambda: progress.say(f"Waiting for another process that prepares {shown}")):
        if not kept.is_file():
            progress.say(f"Preparing {recipe.federation.title} in {shown}")
            shutil.rmtree(path, ignore_errors=True)
            told = _make(recipe, path, seed, progress, teacher_file, student_file, to_run=to_run)
            _write(kept, json.dumps(told))  # last: its presence says that all the rest is there
        found = read_study(path / "study.yaml")
        link = RESULTS / "workspaces" / recipe.name
        if publish or not link.exists():
            link_to(link, path)
        filed = as_prepared(recipe.filed, found)
        if publish and filed != found:
            _write(path / "study.yaml", yaml_text(filed))
    told = json.loads(kept.read_text(encoding="utf-8"))
    if not to_run:  # a run looks by itself
        _note_test_set(path, found.task, progress)
    return Workspace(path, as_prepared(recipe.study, found), recipe, tuple(told["notes"]), told["seconds"])


def _make(
    recipe: Recipe,
    path: Path,
    seed: int,
    progress: Progress,
    teacher_file: Path | None,
    student_file: Path | None,
    *,
    to_run: bool,
) -> dict[str, Any]:
    """Fill the workspace, whose study is the file's; returns what reports must say of it."""
    notes = build_workspace(recipe, path, seed=seed, progress=progress, to_run=to_run)
    for note in notes:
        progress.say(f"  {note}")
    use_all_threads()
    started = time.monotonic()
    study = with_teacher(
        with_public_digests(recipe.study, path),
        path,
        recipe.federation.teacher_fit,
        seed=seed,
        progress=progress,
        teacher_file=teacher_file,
        teachers=TEACHERS,
    )
    fitted = time.monotonic()
    use_threads_that_pay(study)
    study = with_warm_start(study, path, seed=seed, progress=progress, student_file=student_file)
    seconds = {"teacher": fitted - started, "warm_start": time.monotonic() - fitted}
    accept_weights(path, study)
    _write(path / "study.yaml", yaml_text(as_prepared(recipe.filed, study)))
    return {
        "data_kind": "real" if recipe.source else "made",
        "title": recipe.federation.title,
        "attribution": recipe.federation.attribution,
        "notes": notes,
        "seconds": rounded(seconds),
    }


def _note_test_set(workspace: Path, task: Task, progress: Progress) -> None:
    try:
        check_test_set(workspace, task)
    except DataError as error:
        progress.say(f"Note: {error}", "yellow")


def as_prepared(study: StudyConfig, prepared: StudyConfig) -> StudyConfig:
    """Return a study with everything that preparing made or depends on as a workspace has it."""
    update = {name: getattr(prepared, name) for name in (*_PREPARING, "public")}
    return study.model_copy(update=update)


def workspace_name(recipe: Recipe, seed: int, teacher_file: Path | None = None, holds: str = "") -> str:
    """Return the name of the folder that is kept for a recipe: it changes with whatever preparing depends on.

    `holds` is the digest of the data's content; phantoms are known by how they are drawn.
    """
    study = recipe.study.model_dump_json(include=set(_PREPARING))
    teacher = recipe.study.models.teacher.sha256 if teacher_file is None else file_sha256(teacher_file)
    federation = recipe.federation.model_dump_json(
        exclude=None if recipe.federation.public_only else {"public_only"}
    )
    parts = [study, federation, str(recipe.source), str(teacher), holds]
    if recipe.study.models.readout is not None:  # its public statistics are of gradients clipped so
        parts.append(f"{recipe.study.privacy.max_grad_norm:g}")
    if recipe.source is None:
        parts.append(drawing_digest(recipe.federation, recipe.study.task))
    return f"{recipe.name}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:8]}-s{seed}"


def _contents(source: Path, recipe: Recipe, progress: Progress) -> str:
    name = hashlib.sha256(os.fsencode(source.resolve())).hexdigest()[:16]
    known = RESULTS / "workspaces" / ".looks" / f"{name}.json"
    return contents_digest(source, recipe.study.task, recipe.federation.dicom, known, progress)


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
    check_test_set(workspace.path, workspace.study.task)
    folder = new_run_folder(workspace.study.name, label)
    asked = folder.path / "asked.yaml"
    write_yaml(asked, workspace.study)  # this run's own: what another run asks of the workspace is no matter
    config: RunConfig = {
        "workspace": str(workspace.path),
        "study": str(asked),
        "output": str(folder.path),
        "site-state": str(site_state.resolve()) if site_state else "",
        "threads": threads,
        **(overrides or {}),
    }

    with superlink(folder.path / "superlink.log") as link:
        status = run_app(
            link,
            REPOSITORY,
            config,
            num_sites=workspace.num_sites,
            cpus_per_site=1,
            tick=lambda: progress.follow(folder.events, folder.rounds),
            deadline_seconds=_RUN_SECONDS,
        )
    progress.follow(folder.events, folder.rounds)
    if status != COMPLETED and not folder.study.is_file():
        raise StudyError(f"Flower says {status} before the study began; see app.log in {folder.path}")
    return folder, status


def new_run_folder(study: str, label: str = "") -> RunFolder:
    """Make a folder that no other run has, named by the study and the time (UTC)."""
    stem = f"{study}-{datetime.now(UTC).strftime('%Y%m%d-%H%M%S')}{label}"
    RESULTS.mkdir(parents=True, exist_ok=True)
    for number in itertools.count(1):
        path = (RESULTS / (stem if number == 1 else f"{stem}-{number}")).resolve()
        with suppress(FileExistsError):
            path.mkdir()
            return RunFolder(path)
    raise AssertionError


def use_all_threads() -> None:
    """Use the threads of OMP_NUM_THREADS, else all cores: nothing else of ours runs beside this stage."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))


def use_threads_that_pay(study: StudyConfig) -> None:
    """Train the student with one thread at small images: two that hand over hundreds of small layers are slower.

    Measured at 64 px on two cores: 15 s with one thread, 25 s with two that wait without spinning, 14 s spinning.
    """
    if study.task.image_size <= _ONE_THREAD_UP_TO:
        torch.set_num_threads(1)
    else:
        use_all_threads()


def rounded(seconds: dict[str, float]) -> dict[str, float]:
    """Round times to a tenth of a second."""
    return {name: round(value, 1) for name, value in seconds.items()}


def _write(path: Path, text: str) -> None:
    with whole_file(path, durable=False) as part:
        part.write_text(text, encoding="utf-8")


def link_to(link: Path, target: Path) -> None:
    """Point a symbolic link at a folder, replacing the one before at once."""
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_name(f".{link.name}.{os.getpid()}")
    part.unlink(missing_ok=True)  # of a process that was killed here
    part.symlink_to(os.path.relpath(target, link.parent.resolve()))
    part.replace(link)
