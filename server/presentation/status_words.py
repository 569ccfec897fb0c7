"""The states that a reader meets, each as a word and a shape: colour only repeats them.

In: a state as the store holds it. Out: its word, its shape (one of `sections.html`) and its tone.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Status:
    """`shape` names a drawing, `tone` a pair of colours: good, bad, warn, busy, quiet."""

    word: str
    shape: str
    tone: str


_KNOWN: Final = {
    "running": Status("running", "ring", "busy"),
    "completed": Status("completed", "tick", "good"),
    "failed": Status("failed", "cross", "bad"),
    "stopped": Status("stopped", "square", "warn"),
    "accepted": Status("accepted", "tick", "good"),
    "held": Status("held", "cross", "bad"),
    "withdrawn": Status("withdrawn", "bar", "bad"),
    "hidden": Status("hidden until your own view", "dash", "quiet"),
    "none": Status("none yet", "dash", "quiet"),
    "passed": Status("passed", "tick", "good"),
    "does not apply": Status("does not apply", "dash", "quiet"),
    "not measured": Status("not measured", "dash", "quiet"),
    "not stated": Status("not stated", "triangle", "warn"),
    "too few to say": Status("too few to say", "dash", "quiet"),
    "present": Status("present", "tick", "good"),
    "absent": Status("absent", "cross", "bad"),
    "live": Status("live", "ring", "good"),
    "stale": Status("stale", "triangle", "warn"),
    "active": Status("active", "tick", "good"),
    "disabled": Status("disabled", "bar", "quiet"),
    "missing": Status("missing", "triangle", "warn"),
    "refused": Status("refused", "cross", "bad"),
    "online": Status("online", "tick", "good"),
    "offline": Status("offline", "triangle", "warn"),
    "never came": Status("never came", "triangle", "warn"),
    "not registered": Status("not registered", "cross", "bad"),
    "not known": Status("not known", "dash", "quiet"),
    "yes": Status("yes", "tick", "good"),
    "no": Status("no", "cross", "bad"),
    "not said": Status("not said", "dash", "quiet"),
    "invited": Status("invited", "ring", "busy"),
    "admitted": Status("admitted", "tick", "good"),
    "removed": Status("removed", "bar", "quiet"),
    "holds": Status("holds", "tick", "good"),
    "ends soon": Status("ends soon", "triangle", "warn"),
    "ended": Status("ended", "cross", "bad"),
    "serving": Status("serving", "ring", "good"),
    "not serving": Status("not serving", "cross", "bad"),
    "hub's turn": Status("hub's turn", "square", "busy"),
    "hospital's turn": Status("hospital's turn", "triangle", "warn"),
    "nobody's turn": Status("nobody's turn", "dash", "quiet"),
    "incident": Status("incident", "triangle", "bad"),
}


def status(word: str) -> Status:
    """Return how a state looks; one that is not listed is shown by its word alone."""
    return _KNOWN.get(word, Status(word, "dot", "quiet"))
