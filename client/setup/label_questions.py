"""Which class is which label? Asked label by label only where nobody can know: the rest is shown and taken at once."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from client.setup.options import Options
from client.setup.proposals.label_map import (
    LEFT_OUT,
    SAID,
    Match,
    corrected,
    label_map_of,
    matches,
    parsed_corrections,
)
from client.setup.questions import Questions
from shared.errors import ConfigError
from shared.terminal.tables import printable

CONFIRMED = "as you confirmed"


def ask_label_map(
    questions: Questions,
    options: Options,
    labels: Mapping[str, int],
    classes: Sequence[str],
    before: Mapping[str, str],
) -> dict[str, str]:
    """Return `data.label_map`; a guess counts once it was confirmed, and nothing is left out that nobody named.

    Errors: `ConfigError` for a correction that fits no label or class, or a label that stays open without a terminal.
    """
    named = {label: number for label, number in labels.items() if label}
    found = matches(named, classes, before)
    if options.label_map:
        found = corrected(found, parsed_corrections(options.label_map), classes)
    if options.accept_map:
        found = [_accepted(one) for one in found]
    while True:
        questions.console.print(_table(found))
        if labels.get(""):
            questions.say(f"  {labels['']} rows have no label, and are left out", "yellow")
        if all(one.is_sure and one.target is not None for one in found) and _is_settled(
            questions, options, found
        ):
            return label_map_of(found)
        found = _asked(questions, found, classes)
        if all(one.why == CONFIRMED for one in found):
            return label_map_of(found)


def _is_settled(questions: Questions, options: Options, found: Sequence[Match]) -> bool:
    """Say whether nobody need be asked: options or a person said it, or all are the classes themselves."""
    by_hand = bool(options.label_map) or options.accept_map or any(one.why == SAID for one in found)
    plain = all(one.label == one.target for one in found)
    return by_hand or plain or questions.takes_proposals or not questions.terminal


def _asked(questions: Questions, found: Sequence[Match], classes: Sequence[str]) -> list[Match]:
    """Ask for yes or corrections; yes confirms the guesses, and is not taken while a label has no class."""
    open_labels = [one.label for one in found if one.target is None]
    guessed = [one.label for one in found if one.target is not None and not one.is_sure]

    def parse(answer: str) -> list[Match]:
        if answer.casefold() in {"y", "yes"}:
            if open_labels:
                raise ConfigError(
                    f"labels {_some(open_labels)} have no class yet: type {open_labels[0]}=CLASS, or {open_labels[0]}= "
                    "to leave them out"
                )
            return [Match(one.label, one.number, one.target, True, CONFIRMED) for one in found]
        return corrected(found, parsed_corrections(answer.split(",")), classes)

    option = "--map LABEL=CLASS" if open_labels else "--accept-map, or --map LABEL=CLASS"
    what = f"class of {_some(open_labels or guessed)}, of {', '.join(classes)}"
    if not questions.terminal and (open_labels or guessed):
        return questions.ask(what, option, None, parse)
    return questions.ask(
        "Is this right (yes, or LABEL=CLASS, ... to correct; LABEL= leaves it out)", option, None, parse,
        proposed="yes", is_sure=not open_labels and not guessed,
        why=f"Classes of the study: {', '.join(classes)}. A wrong class is trained on as if it were true.",
    )  # fmt: skip


def _accepted(one: Match) -> Match:
    return (
        one
        if one.target is None
        else Match(one.label, one.number, one.target, True, "accepted by --accept-map")
    )


def _table(found: Sequence[Match]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2))
    for column in ("label in the data", "pictures", "class of the study", "why"):
        table.add_column(Text(column, "bold"), justify="right" if column == "pictures" else "left")
    for one in found:
        shown = "?" if one.target is None else "left out" if one.target == LEFT_OUT else one.target
        style = "" if one.is_sure and one.target is not None else "yellow"
        table.add_row(
            Text(printable(one.label)), str(one.number), Text(shown, style), Text(one.why, style or "dim")
        )
    return table


def _some(labels: Sequence[str]) -> str:
    shown = ", ".join(repr(one[:40]) for one in labels[:6])
    return shown + (f" and {len(labels) - 6} more" if len(labels) > 6 else "")
