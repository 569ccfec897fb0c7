"""`rounds-hub runs`: what lies in a folder of results.

In: run folders. Out: a table on this machine.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from server.presentation.svg_charts import interval_text
from server.runs.run_folder import RunFolder
from server.runs.run_lines import read_events
from server.runs.summary import read_summary
from shared.errors import DataError, RoundsError
from shared.terminal.command_line import examples
from shared.terminal.tables import plain_table, wide_console

app = typer.Typer()
_RUN_FILES = ("study.yaml", "events.jsonl", "summary.json", "superlink.log")


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
    events = {line.event for line in read_events(folder)}
    if "study_completed" in events:
        return "completed, no report: rounds-hub report"
    if "study_failed" in events:
        return "failed, no report"
    return "not finished" if events else "did not begin"
