"""`rounds-hub study logs`: what a study's run says.

In: a study's name. Out: the run's log as Flower has it, and the study's exit status.
"""

import typer

from server.cli.hub_option import DEFAULT_HUB, HubOption
from server.cli.studies.study import Name, running
from server.flower.run_control import Control
from server.studies.submissions import EXIT_STATUS, find_study
from shared.terminal.command_line import examples

app = typer.Typer()


@app.command(epilog=examples("rounds-hub study logs", "rounds-hub study logs lungs-20261120-190000"))
def logs(name: Name = None, hub: HubOption = DEFAULT_HUB) -> None:
    """Print what the study's last run says, until that run is over; the exit status is the study's."""
    opened = running(hub)
    study = find_study(opened.studies, name)
    runs = study.read().runs
    if runs:
        for part in Control(opened.superlink(), opened.ca_file).log(runs[-1].run_id):
            typer.echo(part, nl=False)
    raise typer.Exit(EXIT_STATUS[study.read().state])
