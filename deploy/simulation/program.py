"""The whole way on one machine: prepare, run by Flower, measure, report.

`python -m deploy.simulation.program demo` is what `make demo` calls; `prepare` and `teacher` are its parts, `compare`
and `membership` add to its report. The exit status is 0 only when the run completed, its student was judged and its
report was written.
"""

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from deploy.simulation.local_superlink import ray_base
from deploy.simulation.simulated_hospitals import Recipe, build_workspace, check_can_run, find_recipe
from deploy.simulation.terminal_progress import Progress
from deploy.simulation.workspace import RESULTS, TEACHERS, link_to, prepare, run, use_all_threads
from server.flower.run_control import COMPLETED
from server.public_data.preparation import given_teacher, with_public_digests, with_teacher
from server.runs.run_folder import RunFolder
from server.runs.summary import Summary
from shared.config.files import overridden, parse_study
from shared.config.study import StudyConfig
from shared.errors import ConfigError, RoundsError
from shared.models.teacher import build_teacher
from shared.models.weights import store_file
from shared.processes.endings import EndedError, end_in_order
from shared.processes.flower_environment import direct_loopback
from shared.terminal.command_line import tell
from shared.terminal.system_errors import system_sentence

cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
Data = Annotated[Path | None, typer.Option(help="data source; none: phantoms are made")]
Study = Annotated[Path | None, typer.Option(help="study YAML instead of the one for this data")]
Sites = Annotated[
    Path | None, typer.Option(help="YAML of the simulated hospitals; `prepare` needs none for real ones")
]
Seed = Annotated[int, typer.Option(help="seed of phantoms, teacher and warm start")]
TeacherFile = Annotated[Path | None, typer.Option(help="fitted teacher (safetensors)")]
StudentFile = Annotated[Path | None, typer.Option(help="ofa's published weights of a frozen student")]


@cli.command()
def demo(
    data: Data = None,
    study: Study = None,
    sites: Sites = None,
    seed: Seed = 0,
    site_state: Annotated[
        Path | None, typer.Option(help="keep site ledgers here: spend adds up over runs and the cap bites")
    ] = None,
    teacher_file: TeacherFile = None,
    student_file: StudentFile = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="field=value of the study")] = None,
) -> None:
    """Run the main job: prepare, federate under privacy by Flower, audit, report."""
    progress = Progress()
    started = time.monotonic()
    recipe = chosen(data, study, sites, set_ or [])
    check_can_run(recipe)
    ray_base()  # refuses a TMPDIR that is too long before anything is made
    workspace = prepare(
        recipe, seed, progress, teacher_file=teacher_file, student_file=student_file, to_run=True
    )
    prepared = time.monotonic()
    progress.say("Running the study by Flower")
    folder, status = run(workspace, progress, site_state=site_state)
    if status == COMPLETED and site_state is None:
        link_to(workspace.main_run, folder.path)  # what `make compare` compares with
    ran = time.monotonic()
    progress.say("Measuring, auditing and writing the report")
    from server.evaluation.finish_run import finish_run  # noqa: PLC0415 - two seconds, which `prepare` need not wait

    use_all_threads()
    seconds = {"prepare": prepared - started, "rounds": ran - prepared}
    summary = finish_run(folder, workspace.path, workspace.about(started, seconds), progress)
    link_to(RESULTS / "latest", folder.path)
    _conclude(progress, folder, summary, status)


@cli.command("prepare")
def prepare_command(
    data: Data = None,
    study: Study = None,
    sites: Sites = None,
    seed: Seed = 0,
    teacher_file: TeacherFile = None,
    student_file: StudentFile = None,
) -> None:
    """Make the workspace that `flwr run .` or a hub's study starts from: data, teacher, warm start.

    Data and a study without a file of simulated hospitals are public images alone, as the hub of real hospitals has.
    """
    progress = Progress()
    workspace = prepare(
        chosen(data, study, sites, [], may_be_public=True),
        seed,
        progress,
        teacher_file=teacher_file,
        student_file=student_file,
        publish=True,
    )
    progress.say(f"Prepared: {workspace.path}")


@cli.command()
def teacher(
    data: Data = None,
    study: Study = None,
    sites: Sites = None,
    seed: Seed = 0,
    teacher_file: TeacherFile = None,
) -> None:
    """Fit the teacher on the public cohort and keep it under results/teachers by the digest of its recipe."""
    progress = Progress()
    recipe = chosen(data, study, sites, [], may_be_public=True)
    if teacher_file is not None:
        progress.say(
            f"Teacher {recipe.study.models.teacher.name}: {keep_teacher(recipe.study, teacher_file)}"
        )
        return
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
            teachers=TEACHERS,
        )
    progress.say(f"Teacher {fitted.models.teacher.name}: {fitted.models.teacher.sha256}")


@cli.command()
def compare(
    data: Data = None,
    study: Study = None,
    sites: Sites = None,
    seeds: Annotated[
        list[int] | None, typer.Option(help="seeds; all comparisons for the first of them")
    ] = None,
    teacher_file: TeacherFile = None,
    student_file: StudentFile = None,
) -> None:
    """Add central, site-alone, without-privacy and per-method figures to the report; goes on where it stopped.

    The first seed gets every comparison; further seeds repeat the warm start, the private federation and each
    site alone under the same budget.
    """
    from deploy.simulation.comparison import add_comparisons  # noqa: PLC0415 - likewise

    progress = Progress()
    use_all_threads()
    recipe = chosen(data, study, sites, [])
    check_can_run(recipe)
    ray_base()
    folder = add_comparisons(
        recipe, seeds or [0], progress, teacher_file=teacher_file, student_file=student_file
    )
    link_to(RESULTS / "latest", folder.path)
    progress.say(f"Report with comparisons: {folder.path / 'report.html'}")


@cli.command()
def membership(
    study: Study = None,
    sites: Sites = None,
    seed: Seed = 0,
    references: Annotated[int, typer.Option(help="reference students of each recipe, on other patients")] = 4,
    patients: Annotated[
        int, typer.Option(help="members, and non-members, asked about at each hospital")
    ] = 300,
    teacher_file: TeacherFile = None,
    student_file: StudentFile = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="field=value of the study")] = None,
) -> None:
    """Measure what the student tells of who trained it, with and without privacy; phantoms only.

    Starts from the run of `demo` where there is one, goes on where it stopped, and adds the figures to its report.
    """
    from deploy.simulation.membership.measurement import measure_membership, tell_membership  # noqa: PLC0415 - likewise

    progress = Progress()
    use_all_threads()
    recipe = chosen(None, study, sites, set_ or [])
    check_can_run(recipe)
    ray_base()
    folder, found = measure_membership(
        recipe,
        seed,
        progress,
        num_references=references,
        patients_per_site=patients,
        teacher_file=teacher_file,
        student_file=student_file,
    )
    link_to(RESULTS / "latest", folder.path)
    tell_membership(folder, found, progress)


def keep_teacher(study: StudyConfig, file: Path) -> str:
    """Check that a teacher's file fits the study, and keep it where a study finds it by its digest."""
    choice, task = study.models.teacher, study.task
    given_teacher(study, file, None)
    build_teacher(choice.name, len(task.classes), task.image_size, weights=file)
    return store_file(file, choice.sha256, TEACHERS)


def chosen(
    data: Path | None,
    study: Path | None,
    sites: Path | None,
    settings: list[str],
    *,
    may_be_public: bool = False,
) -> Recipe:
    """Find the recipe and apply `--set field=value` to its study; `ConfigError` for one without field or value."""
    recipe = find_recipe(data, study, sites, may_be_public=may_be_public)
    if not settings:
        return recipe
    pairs = [setting.partition("=") for setting in settings]
    for setting, (name, _, value) in zip(settings, pairs, strict=True):
        if not name or not value:
            raise ConfigError(
                f"--set is {setting!r}, allowed is field=value such as privacy.epsilon=4; correct it"
            )
    changed = overridden(recipe.study.model_dump(mode="json"), {name: value for name, _, value in pairs})
    return replace(recipe, study=parse_study(changed, "--set"), as_filed=recipe.study)


def _conclude(progress: Progress, folder: RunFolder, summary: Summary, status: str) -> None:
    """Name what was made, and end with the true exit status."""
    report = folder.path / "report.html"
    for name, figure in (("teacher", summary.test_auc.teacher), ("warm start", summary.test_auc.warm_start),
                         ("federated student", summary.main_auc)):  # fmt: skip
        if figure is not None and figure.value is not None:
            progress.say(f"  {name}: public test AUC {figure.value:.3f}")
    progress.say(f"  verdict: {summary.verdict} {' '.join(summary.reasons)}".rstrip())
    progress.say(f"  {summary.seconds.get('total', 0):.0f} s in all")
    progress.say(f"Report: {report}\nFolder: {folder.path} (also results/latest)")
    if status != COMPLETED or summary.status != "completed":
        progress.say(
            f"The run did not complete: Flower says {status}; what hub and sites said stands in app.log and "
            f"superlink.log of {folder.path}",
            "red",
        )
        raise typer.Exit(1)
    if summary.verdict == "none":
        progress.say(
            "The student was not judged; mend what is named above, then run rounds-hub report", "red"
        )
        raise typer.Exit(1)


def main() -> None:
    """Run a command; whatever ends it early is one sentence on standard error."""
    end_in_order()
    os.environ.update(direct_loopback())  # the SuperLink is on this machine
    try:
        cli()
    except EndedError as ended:
        tell(f"Ended ({ended.why}): nothing is left running; the same command begins anew")
        raise
    except RoundsError as error:
        tell(f"Error: {error}")
        sys.exit(1)
    except BrokenPipeError:  # whoever read the output is gone
        os._exit(1)
    except OSError as error:
        tell(f"Error: {system_sentence(error)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
