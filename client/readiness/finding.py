"""One answer to "is this hospital ready?": a mark, what was asked, and a sentence that says what to do.

In: what a check found. Out: a value to print at the hospital. Sentences may hold the hospital's own counts and paths,
so findings never leave.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from shared.errors import RoundsError

Mark = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """One answer: `ok`, `warn` (goes on, but look) or `fail` (the site would not enrol or answer)."""

    mark: Mark
    what: str
    sentence: str


def tried(what: str, action: Callable[[], object], sentence: str) -> Finding:
    """Return ok with a sentence, or the error's own sentence."""
    try:
        action()
    except (RoundsError, ValueError) as error:
        return Finding("fail", what, str(error))
    return Finding("ok", what, sentence)
