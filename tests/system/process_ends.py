"""Every way to end a demo, at each of its moments: what it says, and what is left of it.

`python -m tests.system.process_ends` tries them all and prints a table: a quarter of an hour where the machine has
nothing else to do. Some ways need the rights to mount a small volume.
"""

import os
import pty
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from server.runs.run_folder import read_lines
from tests.system.disks import fill
from tests.system.small_demo import demo_environment, demo_words, small_study

SECONDS = 300.0  # until a moment comes, and until a demo is gone
MARK = "ROUNDS_TRIED_END"  # in the environment of a demo, and of all that it starts
STRANGE = 'O\'Brien [x] "q" 😀'
LONG_TMPDIR = "users/firstname.lastname/slurm_job_1234567/tmp.node0016"


@dataclass
class Tried:
    """A demo that is to be ended: its process, output, folder, and the mark of all that it starts."""

    process: subprocess.Popen[bytes]
    folder: Path
    output: Path
    scratch: Path
    mark: str
    runs_before: set[Path] = field(default_factory=set)

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8", errors="replace")

    def has_said(self, words: str) -> bool:
        return words in self.said()

    def in_a_round(self) -> bool:
        runs = set(self.folder.glob("results/tiny-*/events.jsonl")) - self.runs_before
        return any(line["event"] == "round_started" for path in runs for line in read_lines(path))

    def until(self, moment: Callable[["Tried"], bool]) -> None:
        """Wait for a moment; an `AssertionError` holds what the demo said where it does not come."""
        end = time.monotonic() + SECONDS
        while not moment(self):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.02)

    def left(self) -> list[str]:
        """Return what is left: processes by name, and files in the scratch folder."""
        found = []
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.environ().get(MARK) == self.mark and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one.name())
        return [*found, *(path.name for path in self.scratch.glob("rounds-*"))]


@contextmanager
def demo(
    folder: Path, *words: str, tmpdir: str = "tmp", terminal: bool = False, command: str = "demo"
) -> Iterator[tuple[Tried, int]]:
    """Start a demo with a scratch folder of its own, in a terminal of its own where asked for; yields its master too.

    What is left of it afterwards is ended by process id.
    """
    mark, scratch = uuid.uuid4().hex, folder.parent / tmpdir
    scratch.mkdir(parents=True, exist_ok=True)
    output = folder.parent / f"{mark}.log"
    environment = demo_environment(**{MARK: mark, "TMPDIR": str(scratch)})
    with output.open("wb") as log:
        master, slave = pty.openpty() if terminal else (-1, -1)
        process = subprocess.Popen(
            [*demo_words(command), *words], cwd=folder, env=environment, start_new_session=True,
            stdin=slave if terminal else subprocess.DEVNULL, stdout=log, stderr=log,
            preexec_fn=_take_terminal if terminal else None,  # noqa: PLW1509 - this process has one thread
        )  # fmt: skip
        if terminal:
            os.close(slave)
    tried = Tried(process, folder, output, scratch, mark, set(folder.glob("results/tiny-*/events.jsonl")))
    try:
        yield tried, master
    finally:
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.environ().get(MARK) == mark:
                    one.kill()
        process.wait()


def _take_terminal() -> None:
    """Make the terminal at standard input that of this session."""
    import fcntl  # noqa: PLC0415 - in the child alone
    import termios  # noqa: PLC0415 - likewise

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


MOMENTS: dict[str, Callable[[Tried], bool]] = {
    "preparing": lambda one: one.has_said("phantoms: 1 of"),
    "starting Flower": lambda one: one.has_said("Running the study"),
    "in a round": Tried.in_a_round,
    "reporting": lambda one: one.has_said("Measuring"),
}


def send(*numbers: int) -> Callable[[Tried, int], None]:
    """Return a way to end: these signals to the demo's whole group, as a terminal sends them, a moment apart."""

    def end(tried: Tried, _master: int) -> None:
        for number in numbers:
            with suppress(ProcessLookupError):
                os.killpg(tried.process.pid, number)
            time.sleep(0.3)

    return end


def close_terminal(_tried: Tried, master: int) -> None:
    """Close the terminal's window: the system tells the session's leader and its group."""
    os.close(master)


WAYS: dict[str, Callable[[Tried, int], None]] = {
    "SIGHUP": send(signal.SIGHUP),
    "SIGTERM": send(signal.SIGTERM),
    "Ctrl-C": send(signal.SIGINT),
    "Ctrl-C twice": send(signal.SIGINT, signal.SIGINT),
    "SIGTERM, SIGHUP, Ctrl-C": send(signal.SIGTERM, signal.SIGHUP, signal.SIGINT),
    "terminal closed": close_terminal,
    "SIGKILL": send(signal.SIGKILL),
}


@dataclass(frozen=True)
class End:
    """How a demo ended: its exit status, what is left, and what it said at the end."""

    status: int
    left: list[str]
    said: str

    @property
    def last_words(self) -> str:
        return next((line for line in reversed(self.said.splitlines()) if line.strip()), "")

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left and no traceback was shown."""
        return not self.left and "Traceback" not in self.said


def ended(folder: Path, way: str, moment: str, *words: str, tmpdir: str = "tmp") -> End:
    """Start a demo, end it in this way at this moment, and look at what is left once it is gone."""
    with demo(folder, *words, tmpdir=tmpdir, terminal=way == "terminal closed") as (tried, master):
        tried.until(MOMENTS[moment])
        WAYS[way](tried, master)
        return _end_of(tried)


def filled(volume: Path, moment: str) -> End:
    """Start a demo on a small volume, fill the volume at this moment, and look at what becomes of it."""
    with demo(volume, tmpdir="tmp") as (tried, _):
        tried.until(MOMENTS[moment])
        fill(volume / "others")
        return _end_of(tried)


def completed(folder: Path, *words: str, tmpdir: str = "tmp", command: str = "demo") -> End:
    """Let a demo, or a part of it, run to its end."""
    with demo(folder, *words, tmpdir=tmpdir, command=command) as (tried, _):
        return _end_of(tried)


def completed_at_once(folder: Path, *settings: str, tmpdir: str = "tmp") -> list[End]:
    """Let demos that differ in a setting of the study begin together, and run to their ends."""
    with ExitStack() as stack:
        each = [stack.enter_context(demo(folder, "--set", one, tmpdir=tmpdir))[0] for one in settings]
        for one in each:
            one.process.wait(
                2 * SECONDS
            )  # they share a scratch folder: what is left is seen after all of them
        return [_end_of(one) for one in each]


def _end_of(tried: Tried) -> End:
    status = tried.process.wait(SECONDS)
    end = time.monotonic() + 60
    while tried.left() and time.monotonic() < end:  # a watchman works on after a demo that was killed
        time.sleep(0.1)
    return End(status, tried.left(), tried.said())


@contextmanager
def small_volume(folder: Path, size: str, *, readonly: bool = False) -> Iterator[Path]:
    """Mount a volume of this size; `OSError` where this account may not."""
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise PermissionError("mounting a small volume needs root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],  # noqa: S607 - the distribution's own
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise PermissionError(f"mounting is not possible here: {done.stderr.strip()}")
    try:
        small_study(folder)
        if readonly:
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)  # noqa: S607 - likewise
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)  # noqa: S607 - likewise


def _all(base: Path) -> Iterator[tuple[str, str, End | str]]:
    usual = base / STRANGE
    usual.mkdir()
    small_study(usual)
    for moment in MOMENTS:
        for way in WAYS:
            if moment == "preparing":
                shutil.rmtree(usual / "results", ignore_errors=True)
            yield (
                way,
                moment,
                ended(usual, way, moment, tmpdir=LONG_TMPDIR if moment == "in a round" else "tmp"),
            )
    yield "none", "after all these", completed(usual)
    for moment in MOMENTS:
        folder = base / f"fills-{moment.replace(' ', '-')}"
        yield from _on_volume(folder, "300m", ("the disk is full", moment), partial(filled, moment=moment))
    for size in ("1m", "4m", "10m", "20m", "37m", "45m", "56m", "64m"):
        yield from _on_volume(
            base / f"full-{size}", size, (f"a volume of {size}", "the whole demo"), completed
        )
    yield from _on_volume(
        base / "readonly", "10m", ("an unwritable folder", "the whole demo"), completed, readonly=True
    )


def _on_volume(
    folder: Path, size: str, told: tuple[str, str], end: Callable[[Path], End], *, readonly: bool = False
) -> Iterator[tuple[str, str, End | str]]:
    try:
        with small_volume(folder, size, readonly=readonly) as volume:
            yield *told, end(volume)
    except OSError as error:
        yield *told, f"not tried: {error}"


def main() -> int:
    """Try every way at every moment; exit status 1 where something was left or a traceback was shown."""
    table = Table("way to end", "moment", "exit status", "left", "traceback", "last words")
    bad = 0
    with tempfile.TemporaryDirectory(prefix="ends-") as base:
        for way, moment, end in _all(Path(base)):
            if isinstance(end, str):
                table.add_row(way, moment, "", "", "", end)
                continue
            bad += not end.is_clean
            traceback = "yes" if "Traceback" in end.said else "no"
            row = (way, moment, str(end.status), ", ".join(end.left) or "nothing", traceback, end.last_words)
            table.add_row(*row)
            print(" | ".join(row), file=sys.stderr, flush=True)
    Console(width=240, markup=False).print(table)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
