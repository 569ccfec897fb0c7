"""A program's commands as a table: what `--help` lists at once, and the module that is imported when one is used.

In: names, places and first lines of help. Out: a command line that starts as fast as the command that is typed:
whoever asks for the list, completes a name or mistypes one waits for no library.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import click
import typer
import typer.main
from typer.core import TyperCommand

from shared.terminal.command_line import SentenceGroup


@dataclass(frozen=True)
class Row:
    """One command or group of commands; `line` is how its help begins.

    It is among the commands at `place` (MODULE:TYPER), or with `is_group` all of them.
    """

    name: str
    place: str
    line: str
    is_group: bool = False

    def imported(self) -> click.Command:
        """Import the module and return the command."""
        module, _, commands = self.place.partition(":")
        holder = typer.Typer()
        holder.add_typer(getattr(import_module(module), commands), name=self.name if self.is_group else None)
        return typer.main.get_group(holder).commands[self.name]

    def listed(self) -> click.Command:
        """Return what stands for the command in lists and completions."""
        return TyperCommand(self.name, help=self.line)


def commands(place: str, lines: Mapping[str, str]) -> tuple[Row, ...]:
    """Return rows of commands at one place, from their names and first lines of help."""
    return tuple(Row(name, place, line) for name, line in lines.items())


def group(name: str, place: str, line: str) -> Row:
    """Return the row of a group whose commands are all imported when one is used; a `program_of` imports fewer."""
    return Row(name, place, line, is_group=True)


def program_of(what_it_is: str, *rows: Row) -> typer.Typer:
    """Return a program, or a group of its commands, that imports a command when it is used."""
    table = {row.name: row for row in rows}

    class Table(SentenceGroup):
        """Lists commands by the table, and resolves them by importing."""

        rows: ClassVar[Mapping[str, Row]] = table

        def __init__(self, *, commands: Mapping[str, click.Command], **settings: Any) -> None:
            listed = {name: row.listed() for name, row in table.items()}
            super().__init__(commands=listed | dict(commands), **settings)

        def resolve_command(
            self, ctx: click.Context, args: list[str]
        ) -> tuple[str | None, click.Command | None, list[str]]:
            name, command, rest = super().resolve_command(ctx, args)
            return name, table[name].imported() if name in table else command, rest

    return typer.Typer(
        cls=Table,
        callback=_nothing,
        help=what_it_is,
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )


def _nothing() -> None:
    """Make a group of what has no commands of its own yet."""
