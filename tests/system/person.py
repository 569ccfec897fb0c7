"""Somebody who reads a numbered list of deploy/README.md and types its commands in a folder of their own."""

import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from deploy.laptop.parties import environment
from tests.terminal import REPOSITORY, terminal

DOCS = REPOSITORY / "deploy" / "README.md"
PROGRAMS = {"rounds-hub": "server.main", "rounds-site": "client.main"}


def steps(title: str) -> list[list[str]]:
    """Return the commands of our programs in each numbered step below a title."""
    text = DOCS.read_text(encoding="utf-8")
    part = text.partition(f"## {title}")[2].partition("\n## ")[0]
    numbered = re.findall(r"^\d+\. (.*)$", part, re.MULTILINE)
    return [re.findall(r"`((?:rounds-hub|rounds-site|make) [^`]*)`", one) for one in numbered]


@dataclass
class Person:
    """Somebody who reads a list of steps and types it in a folder of their own.

    `replaced` is what a reader replaces.
    """

    folder: Path
    title: str
    replaced: dict[str, str] = field(default_factory=dict)
    typed: list[str] = field(default_factory=list)

    def commands(self, number: int) -> list[str]:
        """Return a step's commands, with the reader's own names in them."""
        found = steps(self.title)[number - 1]
        for old, new in self.replaced.items():
            found = [one.replace(old, new) for one in found]
        return found

    def type(self, line: str, answers: dict[str, str] | None = None, seconds: float = 120.0) -> str:
        """Type one command, and answers behind its prompts; it has to succeed. Returns what was shown."""
        status, shown = self._typed(line, answers or {}, seconds)
        assert status == 0, f"{line}\n{shown}"
        return shown

    def fails(self, line: str, answers: dict[str, str] | None = None) -> str:
        """Type one command that is refused; returns what was shown, in one line."""
        status, shown = self._typed(line, answers or {}, 120.0)
        assert status == 1, f"{line}\n{shown}"
        assert "Traceback" not in shown
        return " ".join(shown.split())

    def _typed(self, line: str, answers: dict[str, str], seconds: float) -> tuple[int, str]:
        self.typed.append(line)
        program, *words = shlex.split(line)
        with terminal(*words, program=PROGRAMS[program], cwd=self.folder) as screen:
            return screen.answer(answers, seconds), screen.shown

    def leave_running(self, line: str, *more: str) -> subprocess.Popen[bytes]:
        """Type a command that runs until it is stopped."""
        self.typed.append(line)
        program, *words = shlex.split(line)
        with (self.folder / f"{program}.log").open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", PROGRAMS[program], *words, *more], cwd=self.folder, env=environment(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def succeeds(self, line: str) -> bool:
        program, *words = shlex.split(line)
        command = [sys.executable, "-m", PROGRAMS[program], *words]
        done = subprocess.run(command, cwd=self.folder, env=environment(), capture_output=True, check=False)
        return done.returncode == 0
