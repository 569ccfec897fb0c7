"""Somebody who types at a terminal: the hub's coordinator, or an engineer of a hospital, each in a folder of its own.

What is typed is printed as it stands, with the place where it is typed, so that a person can do the same by hand; what
a command says stands behind its party's name, for several may type at once.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from shared.errors import RoundsError

REPOSITORY = Path(__file__).resolve().parents[2]
KEPT = "processes.json"
_END_SECONDS = 60.0
_LIST = threading.Lock()  # several people type at once


class StepError(RoundsError):
    """A command of the way from nothing to a study ended with an error."""


@dataclass(frozen=True)
class Party:
    """One who types, where, and who is told of it."""

    name: str
    folder: Path
    say: Callable[[str], None]
    typed: list[str] = field(default_factory=list)

    def type(self, *words: str, shown: bool = True) -> str:
        """Run a command to its end, its output printed as it comes; returns that output.

        Errors: `StepError` with the command where it does not succeed.
        """
        self._prompt(words)
        lines = []
        with subprocess.Popen(
            self._command(words), cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
        ) as running:  # fmt: skip
            for line in running.stdout or ():
                lines.append(line)
                if shown:
                    self.say(f"{self.name + ' |':<8}" + line.rstrip("\n"))
        if running.returncode:
            told = "" if shown else ": " + "".join(lines[-8:]).strip()
            raise StepError(f"{self.name}: `{shlex.join(words)}` ended with {running.returncode}{told}")
        return "".join(lines)

    def leave_running(self, log: Path, *words: str) -> None:
        """Start a command that runs until it is stopped, and note it in the folder's list; its words go to `log`."""
        self._prompt((*words, "&"))
        with log.open("ab") as file:
            started = subprocess.Popen(
                self._command(words), cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        note(self.folder.parent, self.name, psutil.Process(started.pid))
        started.returncode = 0  # it is left running on purpose: nothing here waits for it

    def succeeds(self, *words: str) -> bool:
        """Ask a command's exit status, without a word."""
        done = subprocess.run(
            self._command(words), cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL,
            capture_output=True, check=False,
        )  # fmt: skip
        return done.returncode == 0

    def send(self, name: str, to: "Party") -> None:
        """Send a file to somebody, as by mail: a copy lies in the other's folder."""
        self.say(f"{self.name} sends {name} to {to.name}")
        (to.folder / name).write_bytes((self.folder / name).read_bytes())

    def _prompt(self, words: tuple[str, ...]) -> None:
        line = " ".join(word if word == "&" else shlex.quote(word) for word in words)
        self.typed.append(line)
        self.say(f"{self.name}$ {line}")

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [str(Path(sys.executable).with_name(words[0])), *words[1:]]


def environment() -> dict[str, str]:
    """Return what programs find around them: our own commands first, and nothing that would colour their words."""
    own = str(Path(sys.executable).parent)
    paths = {
        "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": str(REPOSITORY),
    }
    return os.environ | paths | {"NO_COLOR": "1", "OMP_NUM_THREADS": "1"}


def words_read_out(told: str) -> str:
    """Return the twelve words that a command says to read out."""
    lines = told.splitlines()
    for number, line in enumerate(lines[:-1]):
        if "read these words out" in line:
            return lines[number + 1].strip()
    raise StepError("no words were shown to be read out; look at what the last command printed")


def note(folder: Path, name: str, process: psutil.Process) -> None:
    """Write down a process that is left running, with when it began: its number may be another's one day."""
    with _LIST:
        kept = [*_noted(folder), [name, process.pid, process.create_time()]]
        (folder / KEPT).write_text(json.dumps(kept), encoding="utf-8")


def running(folder: Path) -> list[tuple[str, psutil.Process]]:
    """Return what is noted and still runs."""
    found = []
    for name, number, began in _noted(folder):
        try:
            process = psutil.Process(number)
            same = process.create_time() == began and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            continue
        if same:
            found.append((name, process))
    return found


def stop(folder: Path, say: Callable[[str], None]) -> None:
    """End what is noted, the last started first, by SIGTERM; what does not end within a minute is killed."""
    for name, process in reversed(running(folder)):
        say(f"stopping {name}")
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_END_SECONDS)
        except psutil.TimeoutExpired:
            for one in [*process.children(recursive=True), process]:
                one.kill()
    (folder / KEPT).unlink(missing_ok=True)


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a state of things that another process brings about; `StepError` after so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise StepError(f"{what}: not within {seconds:.0f} s; look at the logs")
        time.sleep(0.5)


def _noted(folder: Path) -> list[tuple[str, int, float]]:
    file = folder / KEPT
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
