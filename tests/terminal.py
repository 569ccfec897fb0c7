"""A program at a pseudo-terminal, with keys typed as a person types them."""

import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PRESSES, PRESS_SECONDS = 3, 5.0  # of Ctrl-C
MOST_SECONDS = 120  # for one answer of a program that starts on a busy machine


class Terminal:
    """A program at a pseudo-terminal: what it shows is read as it comes, and keys are typed into it."""

    def __init__(self, keys: int, program: "subprocess.Popen[bytes]") -> None:
        self.keys, self.program, self.shown = keys, program, ""
        self._read = 0

    def until(self, text: str) -> str:
        """Read until a text is shown that was not there before; return what came since."""
        end = time.monotonic() + MOST_SECONDS
        while (place := self.shown.find(text, self._read)) < 0:
            if (
                not select.select([self.keys], [], [], max(0.0, end - time.monotonic()))[0]
                or not self._more()
            ):
                raise AssertionError(f"{text!r} was not shown; shown was:\n{self.shown}")
        came, self._read = self.shown[self._read : place], place + len(text)
        return came

    def type(self, text: str) -> None:
        """Type a line, and Enter."""
        os.write(self.keys, f"{text}\n".encode())

    def end(self) -> int:
        """Read to the end; return the exit status."""
        while select.select([self.keys], [], [], MOST_SECONDS)[0] and self._more():
            pass
        return self.program.wait(MOST_SECONDS)

    def interrupt(self) -> int:
        """Press Ctrl-C until the program ends, as people do; return the exit status.

        Readline shows its prompt before it waits for keys: Python does not see a signal that comes in between until
        the next key or signal comes.
        """
        for _ in range(PRESSES):
            os.killpg(self.program.pid, signal.SIGINT)
            if select.select([self.keys], [], [], PRESS_SECONDS)[0]:
                return self.end()
        raise AssertionError(f"{PRESSES} times Ctrl-C ended nothing; shown was:\n{self.shown}")

    def answer(self, prompts: Mapping[str, str], seconds: float = MOST_SECONDS) -> int:
        """Type the answer behind each of these prompts, whenever one is shown; return the exit status."""
        while True:
            found = [(place, one) for one in prompts if (place := self.shown.find(one, self._read)) >= 0]
            if found:
                place, prompt = min(found)
                self._read = place + len(prompt)
                self.type(prompts[prompt])
            elif not select.select([self.keys], [], [], seconds)[0]:
                raise AssertionError(f"nothing more came; shown was:\n{self.shown}")
            elif not self._more():
                return self.program.wait(seconds)

    def _more(self) -> bool:
        try:
            data = os.read(self.keys, 1 << 16)
        except OSError:  # the other end of the terminal is closed
            return False
        self.shown += data.decode(errors="replace").replace("\r\n", "\n")
        return bool(data)


@contextmanager
def terminal(*line: str, program: str = "client.main", cwd: Path | None = None) -> Iterator[Terminal]:
    """Start `rounds-site`, or another program of ours, at a terminal of its own."""
    keys, screen = pty.openpty()
    environment = os.environ | {"TERM": "dumb", "COLUMNS": "200", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", program, *line]
    started = subprocess.Popen(
        command, stdin=screen, stdout=screen, stderr=screen, env=environment, cwd=cwd, start_new_session=True
    )
    os.close(screen)
    try:
        yield Terminal(keys, started)
    finally:
        if started.poll() is None:
            started.kill()
            started.wait()
        os.close(keys)
