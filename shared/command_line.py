"""What both command lines share: a person's mistake is one sentence, never a traceback.

In: a command that raised. Out: its sentence on standard error and exit status 1.
"""

from typing import Any

import click
import typer
from typer.core import TyperGroup

from shared.errors import RoundsError


class SentenceGroup(TyperGroup):
    """A group of commands whose `RoundsError` is told in its one sentence; any other error is our own fault."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a `RoundsError` ends it with exit status 1."""
        try:
            return super().invoke(ctx)
        except RoundsError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from error


def examples(*lines: str) -> str:
    """Return an epilog of examples, one a line: a help text joins lines that no empty line parts."""
    return "\n\n".join(("Examples:", *lines))
