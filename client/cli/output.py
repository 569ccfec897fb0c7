"""How the hospital's commands tell: lines for a person, one JSON object for a program, progress on the way.

In: findings and steps as they come. Out: standard output, and progress on standard error so that it never mixes with
what a program reads.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from client.readiness.finding import Finding, Mark

_STYLES: dict[Mark, str] = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def tell(findings: Iterable[Finding], site: str, study: str, *, as_json: bool) -> bool:
    """Print findings as they are made, or all of them as JSON; returns whether none fails."""
    console = Console(highlight=False, soft_wrap=True)
    made: list[Finding] = []
    for finding in findings:
        made.append(finding)
        if not as_json:
            what, sentence = escape(finding.what), escape(finding.sentence)
            console.print(f"[{_STYLES[finding.mark]}]{finding.mark:>4}[/]  {what}: {sentence}")
    marks = [finding.mark for finding in made]
    failed, warned = marks.count("fail"), marks.count("warn")
    if as_json:
        told = {"site": site, "study": study, "ready": not failed, "fail": failed, "warn": warned}
        typer.echo(json.dumps(told | {"findings": [asdict(finding) for finding in made]}, indent=2))
    else:
        ready = "Not ready" if failed else "Ready"
        console.print(f"{ready} for {study}: {failed} to repair, {warned} to look at.", markup=False)
    return not failed


@contextmanager
def following() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each stage on standard error; the callable takes stage, steps done, steps in all."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        stages: dict[str, TaskID] = {}

        def step(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done)

        yield step
