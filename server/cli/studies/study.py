"""`rounds-hub study submit|status|stop|resume`: a study from submission to its end.

In: what a coordinator typed. Out: tables and JSON on this machine, and true exit statuses: 0 only for a completed
study, 1 failed, 3 still running, 4 stopped.
"""

import json
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from server.cli.hub_option import DEFAULT_HUB, HubOption
from server.cli.studies.typed_settings import SetOption, typed_settings
from server.connections.site_answers import study_answers
from server.connections.study_progress import StudyProgress, refusal_lines
from server.hub.bundle_registry import Registry
from server.presentation.formatting import in_bytes, rounded_by
from server.services.running_hub import Hub
from server.studies.offered_studies import Offers, require_bundle
from server.studies.submissions import (
    EXIT_STATUS,
    GOING_ON,
    SubmittedStudy,
    all_studies,
    find_study,
    new_study,
)
from shared.errors import ConfigError, StudyError
from shared.terminal.command_line import AsJson, examples
from shared.terminal.tables import plain_table, wide_console

app = typer.Typer()
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
        typer.Option(
            "--app",
            help="@publisher/name==version from the registry; what was offered, else the newest, when not given",
        ),
    ] = None,
    set_: SetOption = None,
    not_offered: Annotated[
        bool, typer.Option("--not-offered", help="ask a study other than the offered one of its name")
    ] = False,
    wait: Wait = False,
) -> None:
    """Submit a prepared study as a new one; the name printed is what the other commands take.

    A study that was offered to the sites is asked as it was offered, or not at all. What a round moves over each site's
    link is said beside it.
    """
    from server.studies.resolved_study import prepared_study  # noqa: PLC0415 - loads what no other of these commands needs
    from shared.messages.traffic_forecast import num_trained, round_traffic  # noqa: PLC0415 - likewise

    opened = running(hub)
    settings = {"threads": 1} | typed_settings(set_ or [])
    asked = prepared_study(workspace, {key: value for key, value in settings.items() if key != "threads"})
    offers, registry = Offers(opened.path / "offers"), Registry(opened.path / "registry")
    offered = None if not_offered else offers.offer_of(asked.digest(), asked.name)
    named = app_ or (_newest(registry) if offered is None else require_bundle(offered, registry))
    told = str(round_traffic(asked, num_trained(asked)))
    study = new_study(opened.studies, workspace, named, asked, settings)
    typer.echo(study.path.name)
    typer.echo(told, err=True)
    typer.echo(f"asked is the study with digest {asked.digest()}", err=True)
    if offered is not None:
        approved = ", ".join(offers.approved_by(offered.study)) or "no site yet"
        typer.echo(f"it was offered; by the answers taken in here, approved by: {approved}", err=True)
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
    study = find_study(running(hub).studies, name)
    if not study.move("stopping", "submitted", "running", why="stopped by a person"):
        raise StudyError(f"{study.path.name}: is {study.read().state}, only a running study can be stopped")
    while study.read().state == "stopping":
        time.sleep(_POLL_SECONDS)
    typer.echo(f"{study.path.name} is {study.read().state}")


@app.command(epilog=examples("rounds-hub study resume lungs-20261120-190000 --wait"))
def resume(name: Name = None, hub: HubOption = DEFAULT_HUB, wait: Wait = False) -> None:
    """Resume a stopped or failed study from its checkpoint: the same study, charged to no site twice."""
    study = find_study(running(hub).studies, name)
    if not study.move("submitted", "stopped", "failed"):
        raise StudyError(
            f"{study.path.name}: is {study.read().state}, only a stopped or failed study can be resumed"
        )
    typer.echo(study.path.name)
    if wait:
        _wait(study)


def running(folder: Path) -> Hub:
    """Return the hub; `ServiceError` unless `rounds-hub serve` is at work there."""
    hub = Hub(folder)
    hub.superlink()
    return hub


def _newest(registry: Registry) -> str:
    """Return the app added to the registry last: no node would run one that its hospital has not signed."""
    app = registry.newest()
    if app is None:
        raise ConfigError(
            "--app: the registry holds no bundle; run `rounds-hub study offer`, or `flwr build` and `rounds-hub code "
            "add`, and let hospitals approve it"
        )
    return app


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
