"""What both command lines share: a person's mistake is one sentence, never a traceback.

In: a command that raised. Out: its sentence on standard error and exit status 1. Also the options that both have, and
what both ask a person for: the words of a fingerprint, and passphrases.
"""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import click
import typer
from typer.core import TyperGroup

from shared.errors import ConfigError, RoundsError, TrustError
from shared.terminal.system_errors import system_sentence
from shared.trust.fingerprint import same_fingerprint, words

AsJson = Annotated[bool, typer.Option("--json", help="print JSON in place of lines and tables")]
Fingerprint = Annotated[
    str | None,
    typer.Option(
        "--fingerprint",
        help="what the other side read out: 12 words or 64 digits; asked for when not given",
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="file that holds the passphrase; asked for when not given"),
]
NewBackup = Annotated[Path, typer.Argument(metavar="BACKUP", help="new file, on another machine's volume")]
KeptBackup = Annotated[Path, typer.Argument(metavar="BACKUP", help="what `backup` wrote")]
EmptyFolder = Annotated[Path, typer.Argument(help="new or empty folder")]


class SentenceGroup(TyperGroup):
    """A group of commands whose `RoundsError` and `OSError` are one sentence each; any other error is our own fault."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a `RoundsError`, or what the system refuses, ends it with exit status 1."""
        try:
            return super().invoke(ctx)
        except RoundsError as error:
            tell(f"Error: {error}")
            raise typer.Exit(1) from error
        except BrokenPipeError:
            raise  # whoever read the output is gone: click ends in silence
        except OSError as error:
            tell(f"Error: {system_sentence(error)}")
            raise typer.Exit(1) from error


def tell(sentence: str) -> None:
    """Say a sentence on standard error, whatever its letters; where nobody can be told any more it is no error."""
    with suppress(OSError, ValueError):
        print(sentence.encode("utf-8", "backslashreplace").decode(), file=sys.stderr, flush=True)


def program(what_it_is: str) -> typer.Typer:
    """Return a command line without commands yet, whose mistakes are told in sentences."""
    return typer.Typer(
        cls=SentenceGroup,
        help=what_it_is,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )


def examples(*lines: str) -> str:
    """Return an epilog of examples, one a line: a help text joins lines that no empty line parts."""
    return "\n\n".join(("Examples:", *lines))


def say_what_to_send(file: Path, whom: str, fingerprint: str, of: str) -> None:
    """Tell a person which file to send, and the words that the other side will ask for."""
    typer.echo(f"Send {file} to {whom}, and read these words out when it asks (fingerprint of {of}):")
    typer.echo(f"  {words(fingerprint)}")


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
