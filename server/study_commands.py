"""`rounds-hub study submit|status|stop|resume|logs`: a study from submission to its end.

In: what a coordinator typed. Out: tables and JSON on this machine, and true exit statuses: 0 only for a completed
study, 1 failed, 3 still running, 4 stopped.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from server.answers import study_answers
from server.cli_hub import DEFAULT_HUB, HubOption
from server.control import Control
from server.registry import Registry
from server.services import Hub
from server.study_progress import StudyProgress, refusal_lines
from server.submissions import (
    EXIT_STATUS,
    GOING_ON,
    SubmittedStudy,
    all_studies,
    find_study,
    new_study,
    prepared_study,
)
from server.words import in_bytes, rounded_by
from shared.command_line import AsJson, examples
from shared.config_files import overridden, parse_study
from shared.errors import ConfigError, StudyError
from shared.tables import plain_table, wide_console

app = typer.Typer(help="Submit studies to the running hub, and see them through.", no_args_is_help=True)
Name = Annotated[
    str | None, typer.Argument(metavar="[STUDY]", help="as submitted; the newest when not given")
]
Wait = Annotated[bool, typer.Option("--wait", help="wait for the end; the exit status is the study's")]
_POLL_SECONDS = 0.5
_COLUMNS = ("study", "state", "rounds", "runs", "why")


@app.command(
    epilog=examples(
        "rounds-hub study submit results/workspaces/phantoms --wait",
        "rounds-hub study submit /data/workspace --set federation.rounds=6 --set privacy.epsilon=3",
        "rounds-hub study submit /data/workspace --app @teaching-rounds/teaching-rounds==0.1.0",
    )
)
def submit(
    workspace: Annotated[Path, typer.Argument(help="folder made by `make prepare`")],
    hub: HubOption = DEFAULT_HUB,
    app_: Annotated[
        str | None,
        typer.Option("--app", help="@publisher/name==version from the registry; the newest when not given"),
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="field=value of the study")] = None,
    wait: Wait = False,
) -> None:
    """Submit a prepared study as a new one; the name printed is what the other commands take.

    What a round moves over each site's link is said beside it.
    """
    opened = _running(hub)
    settings = _settings(set_ or [])
    told = _traffic(workspace, settings)
    study = new_study(opened.studies, workspace, app_ or _newest(opened), settings)
    typer.echo(study.path.name)
    typer.echo(told, err=True)
    if wait:
        _wait(study)


@app.command(
    epilog=examples("rounds-hub study status", "rounds-hub study status lungs-20261120-190000 --json")
)
def status(
    name: Name = None,
    hub: HubOption = DEFAULT_HUB,
    as_json: AsJson = False,
    wait: Wait = False,
) -> None:
    """Show how a study stands, what each site sent and who refused and why; without a name, all studies.

    The exit status, and who refused, are of the newest where no name is given.
    """
    studies = Hub(hub).studies
    study = find_study(studies, name)
    shown = [study] if name is not None else all_studies(studies)
    if as_json:
        typer.echo(json.dumps([_as_json(one) for one in shown], indent=1))
    else:
        rows = ([str(_as_json(one)[key]) for key in _COLUMNS] for one in shown)
        wide_console().print(plain_table(_COLUMNS, rows))
        if name is not None and (sent := study.bytes_sent()):
            wide_console().print("", _sent_by_round(sent), sep="\n")
            if (error := study.rounding_error()) is not None:
                wide_console().print(f"updates travel as float16: {rounded_by(error)}")
        for line in refusal_lines(study):
            typer.echo(line)
    if wait:
        _wait(study)
    raise typer.Exit(EXIT_STATUS[study.read().state])


@app.command(epilog=examples("rounds-hub study stop lungs-20261120-190000"))
def stop(name: Name = None, hub: HubOption = DEFAULT_HUB) -> None:
    """Stop a study; its sites' spends stay, and `resume` goes on where it was."""
    study = find_study(_running(hub).studies, name)
    if not study.move("stopping", "submitted", "running", why="stopped by a person"):
        raise StudyError(f"{study.path.name}: is {study.read().state}, only a running study can be stopped")
    while study.read().state == "stopping":
        time.sleep(_POLL_SECONDS)
    typer.echo(f"{study.path.name} is {study.read().state}")


@app.command(epilog=examples("rounds-hub study resume lungs-20261120-190000 --wait"))
def resume(name: Name = None, hub: HubOption = DEFAULT_HUB, wait: Wait = False) -> None:
    """Resume a stopped or failed study from its checkpoint: the same study, charged to no site twice."""
    study = find_study(_running(hub).studies, name)
    if not study.move("submitted", "stopped", "failed"):
        raise StudyError(
            f"{study.path.name}: is {study.read().state}, only a stopped or failed study can be resumed"
        )
    typer.echo(study.path.name)
    if wait:
        _wait(study)


@app.command(epilog=examples("rounds-hub study logs", "rounds-hub study logs lungs-20261120-190000"))
def logs(name: Name = None, hub: HubOption = DEFAULT_HUB) -> None:
    """Print what the study's last run says, until that run is over; the exit status is the study's."""
    opened = _running(hub)
    study = find_study(opened.studies, name)
    runs = study.read().runs
    if runs:
        for part in Control(opened.superlink(), opened.ca_file).log(runs[-1].run_id):
            typer.echo(part, nl=False)
    raise typer.Exit(EXIT_STATUS[study.read().state])


def _running(folder: Path) -> Hub:
    """Return the hub; `ServiceError` unless `rounds-hub serve` is at work there."""
    hub = Hub(folder)
    hub.superlink()
    return hub


def _traffic(workspace: Path, settings: dict[str, str | int | float | bool]) -> str:
    """Say what a round of the study moves; `ConfigError` where the study with these settings is none."""
    from shared import traffic  # noqa: PLC0415 - loads torch, which no other of these commands needs

    own = {key: value for key, value in settings.items() if key != "threads"}
    study = parse_study(overridden(prepared_study(workspace), own), "study.yaml with --set")
    return str(traffic.round_traffic(study, traffic.num_trained(study)))


def _newest(hub: Hub) -> str:
    """Return the app added to the registry last: no node would run one that its hospital has not signed."""
    app = Registry(hub.path / "registry").newest()
    if app is None:
        raise ConfigError(
            "--app: the registry holds no bundle; run `flwr build`, `rounds-hub code add`, and let hospitals approve it"
        )
    return app


def _settings(given: list[str]) -> dict[str, str | int | float | bool]:
    """Read `field=value`; values are JSON where they can be, else text. A field stands once."""
    settings: dict[str, str | int | float | bool] = {}
    for one in given:
        key, sign, value = one.partition("=")
        if not sign or not key:
            raise ConfigError(f"--set is {one!r}, allowed is field=value such as federation.rounds=6")
        if key in settings:
            raise ConfigError(f"--set names {key} twice, allowed is once; leave one of the two out")
        try:
            read = json.loads(value)
        except (ValueError, RecursionError):
            read = value
        settings[key] = read if isinstance(read, str | int | float | bool) else value
    return {"threads": 1} | settings


def _wait(study: SubmittedStudy) -> None:
    """Tell what happens until the end of a study, which `rounds-hub serve` records; exits with its status."""
    progress = StudyProgress(study)
    while (submission := study.read()).state in GOING_ON:
        for line in progress.lines():
            typer.echo(line, err=True)
        time.sleep(_POLL_SECONDS)
    for line in progress.lines():
        typer.echo(line, err=True)
    typer.echo(f"{study.path.name}: {submission.state} {submission.why}".rstrip())
    raise typer.Exit(EXIT_STATUS[submission.state])


def _sent_by_round(sent: dict[str, dict[int, int]]) -> Table:
    """Return a line a round with the size of each site's answer; empty where none came."""
    sites = sorted(sent)
    numbers = sorted({number for counts in sent.values() for number in counts})
    rows = (
        (str(number), *(in_bytes(sent[site][number]) if number in sent[site] else "" for site in sites))
        for number in numbers
    )
    return plain_table(("sent in round", *sites), rows)


def _as_json(study: SubmittedStudy) -> dict[str, object]:
    submission = study.read()
    return {
        "study": study.path.name,
        "state": submission.state,
        "rounds": study.rounds(),
        "runs": len(submission.runs),
        "why": submission.why,
        "bytes_sent": study.bytes_sent(),
        "rounding_error": study.rounding_error(),
        "answers": {one.site: f"{one.stage}: {one.outcome}" for one in study_answers(study)},
        "folder": str(study.path.resolve()),
    }
