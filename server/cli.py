"""`rounds-hub`: the coordinator's command line. It translates words into calls, and results into tables.

In: model files, images and result folders at the hub. Out: tables, JSON and pictures on this machine.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.text import Text

from server import admission_commands, federation_commands, service_commands
from server.feed.sender import send_now
from server.figures import interval_text
from server.finish import finish_run
from server.predict import Prediction, ReleasedModel, open_model, predict_image
from server.results import read_summary
from server.run_folder import RunFolder, read_lines
from server.run_origin import about, origin, run_folder
from shared.command_line import AsJson, examples, program
from shared.errors import DataError, RoundsError
from shared.tables import plain_table, wide_console

app = program(
    "The hub of Teaching Rounds: open a federation, use a released student, look at runs, make their reports."
)
app.add_typer(federation_commands.app)
app.add_typer(admission_commands.app)
app.add_typer(service_commands.app)
_RUN_FILES = ("study.yaml", "events.jsonl", "summary.json", "superlink.log")


@app.command(
    epilog=examples(
        "rounds-hub predict results/latest/student.safetensors film.png",
        "rounds-hub predict results/latest/student.safetensors film.dcm",
        "rounds-hub predict results/latest/candidate.safetensors a.png b.png --maps maps --json",
    )
)
def predict(
    model: Annotated[Path, typer.Argument(help="student.safetensors or candidate.safetensors")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="PNG, JPEG, BMP, TIFF or DICOM files")
    ],
    maps: Annotated[Path, typer.Option(help="folder for one picture an image: film, mask, map")] = Path(
        "maps"
    ),
    allow_text: Annotated[
        bool, typer.Option(help="take DICOM pictures with burned-in text; for those a person has looked at")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Classify images, with a map picture each and the gate's verdict.

    Probabilities are calibrated on public cohort patients; elsewhere they may be off.

    Exit status 1 when an image could not be used; the others are still classified.
    """
    opened = open_model(model)
    done: list[Prediction] = []
    failed: dict[Path, str] = {}
    for number, file in enumerate(images, start=1):
        try:
            picture = maps / f"{number:02d}-{file.stem}.png"
            done.append(predict_image(opened, file, picture, "allow" if allow_text else "refuse"))
        except DataError as error:
            named = str(file) in str(error)  # sentences about DICOM name no file
            failed[file] = str(error) if named else f"image {number} of {len(images)}: {error}"
    if as_json:
        typer.echo(json.dumps(_as_json(opened, done, failed), indent=1, ensure_ascii=False))
    else:
        _show_predictions(opened, done)
    for sentence in failed.values():
        typer.echo(f"Error: {sentence}", err=True)
    if failed:
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        "rounds-hub report results/flwr-run",
        "rounds-hub report results/flwr-run --workspace results/workspaces/phantoms",
    )
)
def report(
    run_dir: Annotated[Path, typer.Argument(help="folder of a run, for example after plain `flwr run .`")],
    workspace: Annotated[
        Path | None, typer.Option(help="prepared workspace; found by its digests when not given")
    ] = None,
) -> None:
    """Measure and audit a run, and write (again) its summary, report, model card and student.

    Comparisons that `make compare` had added are left out; that command adds them again.
    """
    folder = run_folder(run_dir)
    source = origin(folder, workspace)
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1))
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"Measuring, auditing and writing the report of {folder.path.name}", markup=False)
    summary = finish_run(folder, source, about(folder, source), _Steps(console))
    console.print(f"{summary.status}, verdict: {summary.verdict} {' '.join(summary.reasons)}", markup=False)
    console.print(f"Report: {folder.path / 'report.html'}", markup=False)
    if unsent := send_now(folder.path):
        console.print(f"The hub sends its records when its feed answers: {unsent}", markup=False)
    if summary.status != "completed" or summary.verdict == "none":
        raise typer.Exit(1)


@app.command(epilog=examples("rounds-hub runs", "rounds-hub runs /data/results"))
def runs(
    results: Annotated[Path, typer.Argument(help="folder of result folders")] = Path("results"),
) -> None:
    """List runs, newest last: status, verdict, test AUC, and the most any site stated to have spent on one patient."""
    if not results.is_dir():
        raise DataError(f"RESULTS is {str(results)!r}: no such folder; run `make demo` or give another")
    latest = (results / "latest").resolve()
    table = plain_table(
        ("run", "status", "verdict", "test AUC (95 %)", "epsilon", "data"),
        (
            (f"{'*' if path.resolve() == latest else ' '} {path.name}", *_run_cells(path))
            for path in _run_folders(results)
        ),
    )
    wide_console().print(table)
    if not table.row_count:
        typer.echo(f"No runs in {results}; `make demo` makes one.")


@dataclass(frozen=True)
class _Steps:
    """Prints a stage of the work once it is over."""

    console: Console

    def __call__(self, what: str, done: int, total: int) -> None:
        if done >= total:
            self.console.print(f"  {what}: {total}", markup=False)


def _show_predictions(model: ReleasedModel, done: list[Prediction]) -> None:
    console = wide_console()
    if model.verdict != "accepted":
        console.print(
            f"HELD: this model did not pass its gate and may not be used. {model.gate}",
            style="bold red",
            markup=False,
        )
    columns = ("file", "class", *model.study.task.classes, "verdict", "map")
    if done:
        console.print(plain_table(columns, (_prediction_cells(model, one) for one in done)))
    console.print(
        f"Study {model.study.name}, model {model.sha256[:12]}. {model.gate} Probabilities are calibrated on public "
        f"cohort patients (temperature {model.temperature:.3g}); elsewhere they may be off. Research software, not "
        "for diagnosis.",
        markup=False,
    )


def _prediction_cells(model: ReleasedModel, one: Prediction) -> tuple[str | Text, ...]:
    return (
        str(one.file),
        one.predicted,
        *(f"{chance:.3f}" for chance in one.probabilities.values()),
        "accepted" if model.verdict == "accepted" else Text("HELD", "bold red"),
        f"{one.picture}" + ("" if one.evidence else " (no positive evidence)"),
    )


def _as_json(model: ReleasedModel, done: list[Prediction], failed: dict[Path, str]) -> dict[str, Any]:
    images: list[dict[str, Any]] = [
        {
            "file": str(one.file),
            "class": one.predicted,
            "probabilities": one.probabilities,
            "mask_area": one.mask_area,
            "evidence": one.evidence,
            "map": str(one.picture),
        }
        for one in done
    ]
    return {
        "model_sha256": model.sha256,
        "study": model.study.name,
        "study_digest": model.study.digest(),
        "verdict": model.verdict,
        "gate": model.gate,
        "temperature": model.temperature,
        "images": images + [{"file": str(file), "error": sentence} for file, sentence in failed.items()],
    }


def _run_folders(results: Path) -> Iterator[Path]:
    """Yield the run folders in the order in which they began."""
    folders = [
        path
        for path in results.iterdir()
        if path.is_dir() and not path.is_symlink() and any((path / name).is_file() for name in _RUN_FILES)
    ]
    return iter(sorted(folders, key=lambda path: (_started(path), path.name)))


def _started(path: Path) -> float:
    return min((path / name).stat().st_mtime for name in _RUN_FILES if (path / name).is_file())


def _run_cells(path: Path) -> tuple[str, ...]:
    try:
        summary = read_summary(path)
    except RoundsError:
        return (_status_without_report(RunFolder(path)), "", "", "", "")
    auc = summary.main_auc
    spent = [value for value in summary.epsilon.values() if value is not None]
    epsilon = f"{max(spent):.2f}" if spent and summary.privacy_enabled else "no guarantee"
    return (
        summary.status,
        summary.verdict,
        "not measured" if auc is None else interval_text(auc),
        epsilon,
        summary.study.data_name,
    )


def _status_without_report(folder: RunFolder) -> str:
    events = {line["event"] for line in read_lines(folder.events)}
    if "study_completed" in events:
        return "completed, no report: rounds-hub report"
    if "study_failed" in events:
        return "failed, no report"
    return "not finished" if events else "did not begin"
