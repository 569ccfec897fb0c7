"""The supervisor: what it starts stays up, and nothing outlives it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shared.processes.supervisor import pause_after

MAX_PAUSE_SECONDS = 10.0

REPOSITORY = Path(__file__).resolve().parents[3]
SUPERVISE = """
import sys, os, logging, signal
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whatever started the tests may have it ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from shared.processes.supervisor import Service, Supervisor
logging.basicConfig(level=logging.INFO)
folder = Path(sys.argv[1])
command = [sys.executable, "-c", sys.argv[2], str(folder)]
service = Service("one", lambda: command, folder, dict(os.environ), hint="mind")
Supervisor([service], folder / "status.json", {"fact": 1}).run()
"""
WAITS = "import signal; signal.pause()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
# starts a grandchild that hears no SIGTERM, writes its number, and waits
PARENT = (
    "import pathlib, subprocess, sys, signal; "
    f"child = subprocess.Popen([sys.executable, '-c', {DEAF + 'signal.pause()'!r}]); "
    "pathlib.Path(sys.argv[1], 'child').write_text(str(child.pid)); signal.pause()"
)
# as Flower's SuperExec does: starts a process and never waits for it
CARELESS = (
    "import pathlib, subprocess, sys, signal; child = subprocess.Popen(['true']); "
    "pathlib.Path(sys.argv[1], 'child').write_text(str(child.pid)); signal.pause()"
)


class Supervised:
    """A supervisor in a process of its own, keeping one Python program."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", SUPERVISE, str(folder), program],
                env=os.environ | {"PYTHONPATH": str(REPOSITORY)}, stderr=log,
            )  # fmt: skip

    def status(self) -> dict[str, Any] | None:
        path = self.folder / "status.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    def service(self) -> dict[str, Any]:
        status = until(self.status)
        return dict(status["services"]["one"])

    def running(self, start: int) -> psutil.Process:
        def look() -> psutil.Process | None:
            one = self.service()
            return psutil.Process(one["pid"]) if one["pid"] and one["starts"] == start else None

        return until(look)

    def child(self) -> psutil.Process:
        path = self.folder / "child"
        return psutil.Process(int(until(lambda: path.read_text(encoding="utf-8") if path.exists() else None)))


def until(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[[str], Supervised]]:
    started: list[Supervised] = []

    def start(program: str) -> Supervised:
        started.append(Supervised(tmp_path, program))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
        one.process.wait(timeout=30)


def test_a_killed_service_is_started_again(supervise: Callable[[str], Supervised]) -> None:
    """After kill -9 the service runs again under another number, and the hint is in the log."""
    one = supervise(WAITS)
    first = one.running(1)
    first.kill()
    assert one.running(2).pid != first.pid
    assert "one: mind" in (one.folder / "log").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_the_end_takes_everything_with_it(
    supervise: Callable[[str], Supervised], number: signal.Signals
) -> None:
    """After SIGTERM, Ctrl-C or a closed terminal nothing is left, not even a process that hears no SIGTERM."""
    one = supervise(PARENT)
    service, grandchild = one.running(1), one.child()
    one.process.send_signal(number)
    assert one.process.wait(timeout=30) == 0
    assert not service.is_running()
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
    assert one.status() is None


def test_what_a_dead_service_left_is_ended(supervise: Callable[[str], Supervised]) -> None:
    """When a service is killed, what it had started is ended before it starts again."""
    one = supervise(PARENT)
    first, grandchild = one.running(1), one.child()
    first.kill()
    one.running(2)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_killed_supervisor_leaves_no_service(supervise: Callable[[str], Supervised]) -> None:
    """When the supervisor itself is killed hard, the kernel ends the service."""
    one = supervise(WAITS)
    service = one.running(1)
    os.kill(one.process.pid, signal.SIGKILL)
    one.process.wait(timeout=10)
    service.wait(timeout=10)
    assert not service.is_running()


def test_one_supervisor_at_a_time(supervise: Callable[[str], Supervised]) -> None:
    """A second one over the same status file ends at once and says why; the first one's service goes on."""
    service = supervise(WAITS).running(1)
    second = supervise(WAITS)
    assert second.process.wait(timeout=30) != 0
    assert "another process keeps its services running" in (second.folder / "log").read_text(encoding="utf-8")
    assert service.is_running()


def test_a_careless_service_leaves_no_zombie(supervise: Callable[[str], Supervised]) -> None:
    """A service's children vanish when they end, although it never waits for them."""
    one = supervise(CARELESS)
    number = until(lambda: (one.folder / "child").read_text() if (one.folder / "child").exists() else None)
    service = one.running(1)
    until(lambda: not psutil.pid_exists(int(number)))
    assert service.children() == []


def test_pauses_grow_and_are_bounded() -> None:
    """The first start after a failure comes soon, later ones later, and none later than the longest pause."""
    pauses = [pause_after(failures) for failures in range(12)]
    assert pauses[:4] == [0.0, 1.0, 2.0, 4.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == MAX_PAUSE_SECONDS
