"""Keep a few processes running: start them, start them again when they end, end them all, leave nothing behind.

In: services, each a command. Out: a status file that says what runs, and sentences in the log. Each service leads a
session of its own; what it started is ended with it. A service that ends at once is started again after growing
pauses, never more than `MAX_PAUSE_SECONDS`, for as long as it takes.
"""

import fcntl
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from shared.errors import ServiceError
from shared.processes.endings import ENDINGS
from shared.processes.process_groups import end_session
from shared.whole_file import whole_file

log = logging.getLogger("rounds.services")
MAX_PAUSE_SECONDS = 10.0
STEADY_SECONDS = 60.0  # a service that ran for so long begins again with the shortest pause
_GRACE_SECONDS = 10.0
_LOOK_SECONDS = 0.2
_STATUS_SECONDS = 5.0


@dataclass(frozen=True)
class Service:
    """One process to keep: `command` is asked anew at each start, `hint` is said when it ends soon after a start."""

    name: str
    command: Callable[[], Sequence[str]]
    folder: Path
    environment: Mapping[str, str]
    hint: str = ""
    end_with_us: signal.Signals = (
        signal.SIGTERM
    )  # what it gets should we be killed without a chance to end it


@dataclass
class _Kept:
    """A service and its present process."""

    service: Service
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    next_start: float = 0.0
    starts: int = 0
    failures: int = 0
    hinted: bool = False

    def state(self) -> dict[str, object]:
        return {
            "pid": None if self.process is None else self.process.pid,
            "starts": self.starts,
            "seconds": 0 if self.process is None else round(time.monotonic() - self.started, 1),
        }


@dataclass
class Supervisor:
    """Runs services until it is told to end; `tick` is called about every 0.2 s between looks."""

    services: Sequence[Service]
    status_file: Path
    facts: dict[str, object] = field(default_factory=dict)  # written to the status file too
    tick: Callable[["Supervisor"], None] = lambda _: None
    _end: threading.Event = field(default_factory=threading.Event)
    _status_written: float = 0.0

    def __post_init__(self) -> None:
        self._kept = [_Kept(service) for service in self.services]

    def run(self) -> None:
        """Keep the services running until SIGTERM, SIGINT or SIGHUP, then end them and all that they started.

        `ServiceError` where another supervisor is at work on the same status file.
        """
        with _alone(self.status_file.with_suffix(".lock")):
            for number in ENDINGS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # as SIGHUP under nohup
                    signal.signal(number, self._told_to_end)
            self._keep()

    def _keep(self) -> None:
        try:
            while not self._end.is_set():
                for kept in self._kept:
                    self._look_after(kept)
                self.tick(self)
                self._write_status()
                self._end.wait(_LOOK_SECONDS)
        finally:
            log.info("ending %s", ", ".join(service.name for service in self.services))
            for kept in reversed(self._kept):
                _end_service(kept)
            self.status_file.unlink(missing_ok=True)

    def starts(self, name: str) -> int:
        """Return how often a service was started, 0 while it is not running."""
        return next(
            kept.starts if kept.process is not None else 0 for kept in self._kept if kept.service.name == name
        )

    def start_again(self, name: str) -> None:
        """End a service gently; it starts again at the next look."""
        for kept in self._kept:
            if kept.service.name == name:
                _end_service(kept)

    def _told_to_end(self, number: int, _frame: FrameType | None) -> None:
        log.info("told to end (%s)", signal.Signals(number).name)
        self._end.set()

    def _look_after(self, kept: _Kept) -> None:
        if kept.process is not None and kept.process.poll() is not None:
            _record_end(kept)
            self._status_written = 0.0
        if kept.process is None and time.monotonic() >= kept.next_start:
            kept.process = _started(kept.service)
            kept.started = time.monotonic()
            kept.starts += 1
            log.info("%s started (process %d)", kept.service.name, kept.process.pid)
            self._status_written = 0.0

    def _write_status(self) -> None:
        if time.monotonic() - self._status_written < _STATUS_SECONDS:
            return
        status = {
            **self.facts,
            "supervisor": os.getpid(),
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "services": {kept.service.name: kept.state() for kept in self._kept},
        }
        with whole_file(self.status_file, durable=False) as part:
            part.write_text(json.dumps(status, indent=1), encoding="utf-8")
        self._status_written = time.monotonic()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock that ends with its process; two supervisors would fight over ports and keys."""
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServiceError(
                f"{path.parent}: another process keeps its services running; end that first"
            ) from error
        yield


def _started(service: Service) -> subprocess.Popen[bytes]:
    """Start a service in a session of its own, which the kernel ends should we be killed."""
    command = list(service.command())
    setpriv = shutil.which("setpriv")
    if setpriv is not None:
        command = [setpriv, "--pdeathsig", service.end_with_us.name.removeprefix("SIG"), "--", *command]
    with _children_leave_no_zombies():
        return subprocess.Popen(
            command,
            cwd=service.folder,
            env=dict(service.environment),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )


@contextmanager
def _children_leave_no_zombies() -> Iterator[None]:
    """Let what is started here inherit that the end of its children needs no waiting for.

    Flower's SuperExec starts a process for each message and never waits for one (1.41): each would stay a zombie.
    """
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def pause_after(failures: int) -> float:
    """Return the seconds to wait before a start after so many failures in a row."""
    return min(MAX_PAUSE_SECONDS, 2.0 ** (failures - 1)) if failures else 0.0


def _record_end(kept: _Kept) -> None:
    """Say that a service ended, end what it left, and set when it starts again."""
    process, ran = kept.process, time.monotonic() - kept.started
    if process is None:
        return
    end_session(process.pid)
    kept.process = None
    kept.failures = 0 if ran >= STEADY_SECONDS else kept.failures + 1
    kept.hinted = kept.hinted and kept.failures > 0
    pause = pause_after(kept.failures)
    kept.next_start = time.monotonic() + pause
    log.warning(
        "%s ended with status %d after %.0f s; starting it again in %.0f s",
        kept.service.name, process.returncode, ran, pause,
    )  # fmt: skip
    if kept.service.hint and not kept.hinted:
        log.warning("%s: %s", kept.service.name, kept.service.hint)
        kept.hinted = True


def _end_service(kept: _Kept) -> None:
    """End a service gently, then by force, then what is left of its session."""
    process = kept.process
    if process is None:
        return
    process.terminate()
    try:
        process.wait(timeout=_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        log.warning("%s does not end; killing it", kept.service.name)
        process.kill()
        process.wait()
    end_session(process.pid)
    kept.process = None


def free_port() -> int:
    """Return a port of the loopback that is free now, for a service that only this machine asks."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
