"""`rounds-hub report`: a run measured and audited, and its report written.

In: a run's folder and its prepared workspace. Out: summary, report, model card and student in that folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console

from server.evaluation.finish_run import finish_run
from server.evaluation.provenance import about, origin, run_folder
from server.feed.sender import send_now
from shared.terminal.command_line import examples

app = typer.Typer()


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


@dataclass(frozen=True)
class _Steps:
    """Prints a stage of the work once it is over."""

    console: Console

    def __call__(self, what: str, done: int, total: int) -> None:
        if done >= total:
            self.console.print(f"  {what}: {total}", markup=False)
