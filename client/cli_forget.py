"""`rounds-site forget`: a patient withdraws.

In: an identifier, typed or piped at the hospital. Out: sentences without it.
"""

import sys
from typing import Annotated

import typer

from client.cli_arguments import DEFAULT_SITE, SiteOption
from client.cli_site import open_site
from client.forget import forget_patient
from client.site import Site
from shared.command_line import examples

app = typer.Typer()


@app.command(epilog=examples("rounds-site forget 1234567", "rounds-site forget - < identifier.txt"))
def forget(
    patient_id: Annotated[
        str,
        typer.Argument(
            metavar="PATIENT_ID", help="as the data has it; - reads it from the keyboard or a pipe"
        ),
    ],
    site: SiteOption = DEFAULT_SITE,
) -> None:
    """Purge what is kept of a patient, leave the patient out of all later rounds, and say what cannot be undone.

    A shell remembers what is typed behind a command: give - and type the identifier when asked.
    """
    opened = Site(open_site(site).config)
    if patient_id == "-":
        patient_id = sys.stdin.readline().strip()
    for sentence in forget_patient(opened, patient_id):
        typer.echo(sentence)
