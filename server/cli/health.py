"""`rounds-hub healthy`: the hub's processes looked at.

In: the hub's folder. Out: one sentence, and an exit status for whoever runs the container.
"""

import typer

from server.cli.hub_option import DEFAULT_HUB, HubArgument
from server.services.running_hub import Hub, is_healthy
from shared.terminal.command_line import examples

app = typer.Typer()


@app.command(epilog=examples("rounds-hub healthy hub"))
def healthy(folder: HubArgument = DEFAULT_HUB) -> None:
    """Say whether all of the hub's processes run and the SuperLink answers; exit status 1 where not."""
    typer.echo(is_healthy(Hub(folder)))
