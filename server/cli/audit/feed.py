"""`rounds-hub feed`: who may send a study's records to this hub, the service that takes them, and sending them.

In: what a coordinator typed. Out: files that are carried to where a study runs, and records in the store.
"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from server.cli.hub_option import DEFAULT_HUB, HubOption
from server.feed.sender import credential_file, send_rest
from server.feed.sender_certificates import Senders, hub_senders
from server.feed.service import serve_feed
from server.hub.certificates import SENDER_DAYS
from server.hub.hub_folder import open_hub
from shared.errors import ConfigError
from shared.terminal.command_line import examples
from shared.terminal.tables import plain_table, wide_console

app = typer.Typer(help="The audit feed: studies' records on their way to the hub.", no_args_is_help=True)
FEED_LISTEN = "127.0.0.1:8444"
_SEND_SECONDS = 60.0
Run = Annotated[str, typer.Argument(metavar="RUN", help="name of the run's output folder")]


@app.command(
    epilog=examples("rounds-hub feed certificate lungs-7 lungs-7.json --address hub.example.org:8444")
)
def certificate(
    run: Run,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="new file for the machine on which the study runs")
    ],
    address: Annotated[str, typer.Option(help="host:port at which that machine reaches the feed")],
    hub: HubOption = DEFAULT_HUB,
    days: Annotated[int, typer.Option(min=1, help="days that it holds")] = SENDER_DAYS,
) -> None:
    """Let a study that runs on another machine send its records; the one certificate before ends.

    A study on the hub's own machine needs nothing.
    """
    opened = open_hub(hub)
    if file.exists():
        raise ConfigError(f"FILE is {str(file)!r}: is there already; choose another name")
    hub_senders(opened).issue(run, address, opened.ca_file.read_bytes(), days=days).write(file)
    typer.echo(f"{file}: holds a private key; carry it by a safe way, and keep it for one account.")
    typer.echo(f"There: ROUNDS_FEED=FOLDER with {run}.json in it, before Flower starts, or")
    typer.echo(f"rounds-hub feed send {run} --with {file.name}")


@app.command(epilog=examples("rounds-hub feed senders"))
def senders(hub: HubOption = DEFAULT_HUB) -> None:
    """List the runs whose records somebody may send, and until when."""
    rows = ((run, f"{until:%Y-%m-%d}") for run, until in Senders(open_hub(hub).feed).listed().items())
    wide_console().print(plain_table(("run", "until"), rows))


@app.command(epilog=examples("rounds-hub feed remove lungs-7"))
def remove(run: Run, hub: HubOption = DEFAULT_HUB) -> None:
    """Take no more records of a run, at once: its key was stolen, or it is over."""
    Senders(open_hub(hub).feed).remove(run)
    typer.echo(f"{run}: nobody may send its records any more.")


@app.command(
    epilog=examples(
        "rounds-hub feed send results/lungs-7 --with lungs-7.json", "rounds-hub feed send hub/studies/NAME"
    )
)
def send(
    folder: Annotated[Path, typer.Argument(metavar="RUN_FOLDER", help="output folder of a run")],
    file: Annotated[
        Path | None,
        typer.Option("--with", metavar="FILE", help="made by `feed certificate`; found where it usually is"),
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="seconds to wait for a hub that is away")
    ] = _SEND_SECONDS,
) -> None:
    """Send what a run's folder holds and the hub does not have; nothing is deleted, and twice is the same as once."""
    found = file or credential_file(folder)
    if found is None:
        raise ConfigError(
            f"--with: no file for {folder.name} in $ROUNDS_FEED or at the hub; make one by `rounds-hub feed "
            "certificate`"
        )
    typer.echo(f"{folder.name}: {send_rest(folder, found, wait).seq} records are at the hub")


@app.command(epilog=examples("rounds-hub feed serve --hub hub --listen 0.0.0.0:8444"))
def serve(
    hub: HubOption = DEFAULT_HUB,
    listen: Annotated[str, typer.Option(help="address:port at which senders reach it")] = FEED_LISTEN,
) -> None:
    """Take records until SIGTERM, into the store that $ROUNDS_STORE names; `rounds-hub serve` starts it."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    opened = open_hub(hub)
    hub_senders(opened)
    serve_feed(opened, opened.store(), listen)
