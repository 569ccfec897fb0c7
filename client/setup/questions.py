"""One question at a time: an option answers it, a person does at a terminal, or a default where that is safe.

In: what is asked, and what is proposed. Out: the answer. Without a terminal nothing waits: what no option answers is
one sentence that names the option.
"""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from shared.errors import ConfigError, DataError

T = TypeVar("T")


class Questions:
    """Who answers: `takes_proposals` takes what is proposed as sure, `terminal` says whether a person sits there."""

    def __init__(self, *, takes_proposals: bool, terminal: bool | None = None) -> None:
        self.takes_proposals = takes_proposals
        self.terminal = sys.stdin.isatty() if terminal is None else terminal
        self.console = Console(highlight=False)

    def say(self, text: str, style: str = "") -> None:
        """Print a line; nothing of it is read as markup."""
        self.console.print(f"[{style}]{escape(text)}[/]" if style else escape(text), soft_wrap=True)

    def ask(
        self,
        what: str,
        option: str,
        given: str | None,
        parse: Callable[[str], T],
        *,
        proposed: str | None = None,
        is_sure: bool = True,
        why: str = "",
    ) -> T:
        """Return the answer as `parse` reads it; what it refuses is told, and asked again at a terminal.

        `proposed` stands in brackets and Enter takes it, where it `is_sure`; else it is shown in `why` and typed.
        Errors: `ConfigError` where an option is wrong, or where there is neither option nor terminal.
        """
        default = proposed if is_sure else None
        if given is not None:
            return parse(given)
        if self.takes_proposals and default is not None:
            return parse(default)
        if not self.terminal:
            shown = f" (proposed: {proposed}; --yes takes it)" if default else ""
            raise ConfigError(
                f"{option} is missing and there is no terminal to ask at: {what}{shown}; give it"
            )
        if why:
            self.say(why, "dim")
        while True:
            answer = typer.prompt(what, default=default, show_default=default is not None, type=str)
            try:
                return parse(str(answer).strip())
            except (ConfigError, DataError) as error:
                self.say(str(error), "yellow")


def one_of(choices: Sequence[str], what: str, *, more: Sequence[str] = ()) -> Callable[[str], str]:
    """Return a reader for one of some names or its number, from 1; `more` are names that have no number."""

    def parse(answer: str) -> str:
        if answer in choices or answer in more:
            return answer
        if answer.isascii() and answer.isdecimal() and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1]
        shown = ", ".join(choices[:12]) + (f" and {len(choices) - 12} more" if len(choices) > 12 else "")
        numbers = f", or a number from 1 to {len(choices)}" if choices else ""
        extra = "".join(f", or {one!r}" for one in more)
        raise ConfigError(f"{what} is {answer[:60]!r}, allowed is {shown}{numbers}{extra}; correct it")

    return parse


def yes(answer: str) -> bool:
    """Read yes or no, in whole words or by their first letters."""
    if answer.casefold() not in {"y", "yes", "n", "no"}:
        raise ConfigError(f"the answer is {answer[:60]!r}, allowed is yes or no; type one")
    return answer.casefold() in {"y", "yes"}


def number(what: str, kind: type[int] | type[float], least: float) -> Callable[[str], float]:
    """Return a reader for a number above or at `least`."""

    def parse(answer: str) -> float:
        try:
            value = kind(answer)
        except ValueError:
            value = kind(-1)
        if not least <= value < float("inf"):
            word = "a whole number" if kind is int else "a number"
            raise ConfigError(
                f"{what} is {answer[:60]!r}, allowed is {word} of at least {least:g}; correct it"
            )
        return value

    return parse
