"""docs/commands.md, made from what `--help` says: `python -m deploy.documents.commands`.

In: both programs. Out: each command with its arguments, options, defaults and what it does, in the order of `--help`.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click
import typer.main

from client.cli.program import app as rounds_site
from server.cli.program import app as rounds_hub

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
PROGRAMS: Final = {"rounds-hub": rounds_hub, "rounds-site": rounds_site}
_HEAD: Final = """# The command lines

Made by `python -m deploy.documents.commands` from what `--help` says. `make` puts both programs into `.venv/bin`;
`. .venv/bin/activate` brings them into your path. A command says what is wrong in one sentence, and ends with exit
status 1 when it could not do what was asked.
"""


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    for name, app in PROGRAMS.items():
        parts.append(
            f"## {name}\n\n| command | does |\n|---|---|\n"
            + "".join(_rows(name, typer.main.get_command(app)))
        )
    return "\n".join(parts)


def _rows(path: str, command: click.Command) -> Iterator[str]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            _, found, _ = command.resolve_command(context, [name])
            if found is not None and not found.hidden:
                yield from _rows(f"{path} {name}", found)
        return
    arguments = [one for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    typed = " ".join([path, *(one.make_metavar(click.Context(command)) for one in arguments)])
    named = ", ".join(f"`{max(one.opts, key=len)}`" for one in options if one.opts != ["--help"])
    does = " ".join(inspect.cleandoc(command.help or "").split("\n\n")[0].split())
    cell = f"{does}{f' Options: {named}.' if named else ''}".replace("|", "\\|")
    yield f"| `{typed}` | {cell} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
