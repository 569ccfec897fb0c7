"""What both command lines share: a person's mistake is one sentence, never a traceback.

In: a command that raised. Out: its sentence on standard error and exit status 1. Also what both ask a person for:
the words of a fingerprint, and passphrases.
"""

from pathlib import Path
from typing import Any

import click
import typer
from typer.core import TyperGroup

from shared.errors import ConfigError, RoundsError, TrustError
from shared.fingerprint import same_fingerprint, words


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


def require_fingerprint(fingerprint: str, said: str | None, whose: str) -> None:
    """Ask a person what the other side reads out, unless `said` holds it; `TrustError` where it is not the same.

    Nothing is asked that a person could answer with a habitual yes: the words themselves are typed.
    """
    if said is None:
        typer.echo(
            f"Call {whose} under a number you know, and type the twelve words that are read out to you."
        )
        said = str(typer.prompt("Words"))
    if not same_fingerprint(said, fingerprint):
        raise TrustError(
            f"fingerprint: what {whose} reads out is not that of this file ({words(fingerprint)}); nothing was "
            "changed, the file is another's or was altered on its way"
        )


def passphrase_from(file: Path | None, *, confirm: bool) -> str:
    """Read a passphrase from a file's first line, or ask for it unseen; with `confirm` twice."""
    if file is None:
        return str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=confirm))
    try:
        return file.read_text(encoding="utf-8").split("\n", 1)[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--passphrase-file {file}: cannot be read; give a file whose first line it is"
        ) from error
