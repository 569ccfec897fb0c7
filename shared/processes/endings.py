"""A closed terminal, SIGTERM and Ctrl-C end a program in order: what it started ends first, and once is enough."""

import signal
from types import FrameType

ENDINGS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
_WORDS = {signal.SIGHUP: "the terminal was closed", signal.SIGINT: "Ctrl-C"}


class EndedError(SystemExit):
    """The program was told to end; its exit status is the shell's for that signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.why = _WORDS.get(signal.Signals(number), signal.Signals(number).name)


def end_in_order() -> None:
    """Let the first of these signals raise `EndedError`, and later ones do nothing: clearing up is not cut short.

    One that is ignored already, as SIGHUP under nohup, stays so.
    """
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    for other in ENDINGS:
        if signal.getsignal(other) is _end:
            signal.signal(other, _already_ending)
    raise EndedError(number)


def _already_ending(_number: int, _frame: FrameType | None) -> None:
    """Do nothing; a process that is started now would inherit a signal that is ignored, but not this."""
