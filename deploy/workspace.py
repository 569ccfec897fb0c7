"""A prepared workspace and its runs by Flower: made once for a study and seed, then started from at will."""

import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from deploy.federation import Recipe, accept_weights, build_workspace, drawing_digest
from deploy.flower_run import run_app, superlink
from deploy.progress import Progress
from server.control import COMPLETED, RunConfig
from server.prepare import check_student, given_teacher, with_public_digests, with_teacher, with_warm_start
from server.recorded import About
from server.run_folder import RunFolder
from shared.config import StudyConfig
from shared.config_files import read_study, write_yaml
from shared.errors import StudyError
from shared.models.weights import file_sha256

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = Path("results")
TEACHERS = RESULTS / "teachers"
_RUN_SECONDS = 3600
_ONE_THREAD_UP_TO = 96  # pixels


@dataclass(frozen=True)
class Workspace:
    """A prepared folder: the resolved study, simulated hospitals, weights, and what reports must say."""

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
) -> Workspace:
    """Divide the data, fit or load the teacher, warm-start; kept and done only once.

    A workspace is kept by seed and by what preparing depends on: other rounds, budgets or limits start from the
    same one.
    """
    shown = RESULTS / "workspaces" / workspace_name(recipe, seed, teacher_file)
    path = shown.resolve()
    kept = path / "prepared.json"
    if student_file is not None or not kept.is_file():
        check_student(recipe.study, student_file)
    if not kept.is_file():
        given_teacher(recipe.study, teacher_file, TEACHERS)  # refuses before anything is made
        progress.say(f"Preparing {recipe.federation.title} in {shown}")
        shutil.rmtree(path, ignore_errors=True)
        notes = build_workspace(recipe, path, seed=seed, progress=progress)
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
        told = {
            "data_kind": "real" if recipe.source else "made",
            "title": recipe.federation.title,
            "attribution": recipe.federation.attribution,
            "notes": notes,
            "seconds": rounded(seconds),
        }
        kept.write_text(json.dumps(told), encoding="utf-8")
        accept_weights(path, study)
        link_to(RESULTS / "workspaces" / recipe.name, path)
    found = read_study(path / "study.yaml")
    study = recipe.study.model_copy(update={"models": found.models, "public": found.public})
    if study != found:
        write_yaml(path / "study.yaml", study)
    told = json.loads(kept.read_text(encoding="utf-8"))
    return Workspace(path, study, recipe, tuple(told["notes"]), told["seconds"])


def workspace_name(recipe: Recipe, seed: int, teacher_file: Path | None = None) -> str:
    """Return the name of the folder that is kept for a recipe: it changes with whatever preparing depends on."""
    study = recipe.study.model_dump_json(include={"task", "models", "distillation", "warm_start"})
    teacher = recipe.study.models.teacher.sha256 if teacher_file is None else file_sha256(teacher_file)
    parts = [study, recipe.federation.model_dump_json(), str(recipe.source), str(teacher)]
    if recipe.source is None:
        parts.append(drawing_digest(recipe.federation, recipe.study.task))
    return f"{recipe.name}-{hashlib.sha256('|'.join(parts).encode()).hexdigest()[:8]}-s{seed}"


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
    config: RunConfig = {
        "workspace": str(workspace.path),
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


def link_to(link: Path, target: Path) -> None:
    """Point a symbolic link at a folder, replacing the one before at once."""
    link.parent.mkdir(parents=True, exist_ok=True)
    part = link.with_name(f".{link.name}.{os.getpid()}")
    part.symlink_to(os.path.relpath(target, link.parent.resolve()))
    part.replace(link)
