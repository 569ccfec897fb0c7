"""`rounds-site forget`: a patient withdraws.

In: an identifier, typed or piped at the hospital. Out: sentences without it.
"""

import sys
from typing import Annotated

import click
import typer

from client.cli.arguments import DEFAULT_SITE, SiteOption
from client.cli.site_opening import open_site
from client.review.patient_withdrawal import forget_patient, is_known
from client.site.site import Site
from shared.errors import ConfigError
from shared.terminal.command_line import examples

app = typer.Typer()
FORGET_EXAMPLES = examples(
    "rounds-site forget 1234567",
    "rounds-site forget - < identifier.txt",
    "rounds-site forget - --unseen < identifier.txt    # a patient who has not taken part yet",
)


@app.command(epilog=FORGET_EXAMPLES)
def forget(
    patient_id: Annotated[
        str,
        typer.Argument(
            metavar="PATIENT_ID", help="as the data has it; - reads it from the keyboard or a pipe"
        ),
    ],
    site: SiteOption = DEFAULT_SITE,
    unseen: Annotated[
        bool,
        typer.Option(
            "--unseen", help="record it though nobody under this identifier was seen here; for scripts"
        ),
    ] = False,
) -> None:
    """Purge what is kept of a patient, leave the patient out of all later rounds, and say what cannot be undone.

    A shell remembers what is typed behind a command: give - and type the identifier when asked. One that nobody here
    was seen under is asked back first, for what is recorded stays.
    """
    opened = Site(open_site(site).config)
    if patient_id == "-":
        patient_id = sys.stdin.readline().strip()
    if patient_id.strip() and not unseen and not is_known(opened, patient_id):
        typer.echo(
            "No one under this identifier has been seen in a round here: it may be mistyped, or of a patient who is "
            "new. What is recorded cannot be taken back."
        )
        if not _sure():
            raise ConfigError(
                "PATIENT_ID: nobody was seen under it, and nothing was recorded; check it against the data, or give "
                "--unseen where it is right"
            )
    for sentence in forget_patient(opened, patient_id):
        typer.echo(sentence)


def _sure() -> bool:
    """Ask once; where nobody can answer it is no."""
    try:
        return typer.confirm("Leave out whoever has just this identifier, from now on?")
    except click.Abort:
        return False
