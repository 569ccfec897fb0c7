"""`make federation`: a hub and two hospitals on one machine, as real processes, until they are stopped."""

import shutil
import time
from pathlib import Path
from typing import Annotated

import typer

from deploy.laptop.federation import Federation, Ports
from deploy.laptop.parties import running, stop
from shared.errors import ConfigError
from shared.terminal.command_line import program

FolderOption = Annotated[Path, typer.Option("--folder", help="where hub and hospitals have their folders")]
DEFAULT_FOLDER = Path("results/federation")
cli = program(
    "A hub and two hospitals on one machine: real processes, TLS, approvals, and every command shown."
)


@cli.command()
def start(
    folder: FolderOption = DEFAULT_FOLDER,
    port: Annotated[int, typer.Option(help="where sites reach the hub")] = Ports.hub,
    superlink_port: Annotated[int, typer.Option(help="the SuperLink's on the loopback")] = Ports.superlink,
    feed_port: Annotated[int, typer.Option(help="the audit feed's")] = Ports.feed,
    dashboard_port: Annotated[int, typer.Option(help="the dashboard's")] = Ports.dashboard,
) -> None:
    """Make hub and hospitals, run a study between them, and leave them running with the dashboard."""
    begun = time.monotonic()
    ports = Ports(port, superlink_port, feed_port, dashboard_port)
    _require_free(folder, ports)
    federation = Federation(folder.resolve(), ports, typer.echo)
    federation.make_folders()
    try:
        workspace = federation.prepare()
        federation.open_hub()
        for site in federation.sites:
            federation.join(site)
        digests = federation.offer(workspace)
        federation.take_everywhere(digests)
        federation.study(workspace)
    except BaseException:
        stop(folder.resolve(), typer.echo)
        typer.echo(f"What was made is left in {folder}; `make federation-clean` removes it.", err=True)
        raise
    _tell(federation, time.monotonic() - begun)


@cli.command("stop")
def stop_command(folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Stop hub and hospitals; their folders stay."""
    if not running(folder):
        typer.echo(f"Nothing of {folder} runs.")
    stop(folder, typer.echo)


@cli.command()
def clean(folder: FolderOption = DEFAULT_FOLDER) -> None:
    """Stop hub and hospitals, and remove their folders."""
    stop(folder, typer.echo)
    shutil.rmtree(folder, ignore_errors=True)


def _require_free(folder: Path, ports: Ports) -> None:
    if folder.exists():
        raise ConfigError(
            f"--folder is {str(folder)!r}: a federation is there already; `make federation-clean` removes it, or name "
            "another folder"
        )
    if taken := ports.taken():
        options = "--port, --superlink-port, --feed-port or --dashboard-port"
        raise ConfigError(f"port {taken[0]}: something listens there already; choose another by {options}")


def _tell(federation: Federation, seconds: float) -> None:
    counts = ", ".join(f"{one.name} {len(one.typed)}" for one in (federation.hub, *federation.sites))
    typer.echo(f"\nDone in {seconds / 60:.1f} minutes. Commands typed: {counts}.")
    typer.echo(f"Dashboard: http://127.0.0.1:{federation.ports.dashboard}")
    typer.echo(f"First login: {federation.first_login() or 'see hub/serve.log'}")
    typer.echo(
        "It all goes on running: `make federation-stop` stops it, `make federation-clean` removes it as well."
    )


if __name__ == "__main__":
    cli()
