"""Run a Flower app on this machine with a SuperLink of our own, and leave no process behind.

As shipped, `flwr run` leaves a daemon that keeps the first caller's environment, and `--stream` exits 0 when a
run failed (measured on 1.41.0). So: a private SuperLink on a free port, in an empty folder, with its own home;
the true outcome from its Control API; everything we started ended by process id.
"""

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server.flower.run_control import COMPLETED, Control, RunConfig
from server.flower.superlink import health_answers, loopback_superlink
from shared.errors import ConfigError, StudyError
from shared.processes.flower_environment import flower_environment
from shared.processes.left_behind import end_all_of, nothing_left
from shared.processes.supervisor import free_port

_START_SECONDS = 90
_LOOK_SECONDS = 0.5
_SHORT_FOLDERS = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))  # noqa: S108 - folders of our own are made in them
_LONGEST_BASE = (
    107 - 65 - len("/rounds-12345678r")
)  # bytes: of a socket's path, of what Ray adds, of our folder
_ASK_SECONDS = 2.0  # the SuperLink logs each time that it is asked


@dataclass(frozen=True)
class SuperLink:
    """A running SuperLink: how to ask it, the folder that holds its home, and where it logs."""

    control: Control
    scratch: Path
    log: Path


def ray_base() -> Path:
    """Return a folder short enough for the sockets that Ray makes below it; `ConfigError` where there is none."""
    usual = Path(tempfile.gettempdir())
    for base in (usual, *_SHORT_FOLDERS):
        if len(os.fsencode(base)) <= _LONGEST_BASE and base.is_dir() and os.access(base, os.W_OK | os.X_OK):
            return base
    raise ConfigError(
        f"TMPDIR is {str(usual)!r}, {len(os.fsencode(usual))} bytes, allowed are {_LONGEST_BASE}: a socket's path may "
        "have 107 bytes and Ray adds the rest; set TMPDIR to a shorter folder that may be written to"
    )


@contextmanager
def superlink(log: Path) -> Iterator[SuperLink]:
    """Start a simulation SuperLink in an empty folder; on leaving, end it and everything it started.

    A watchman does so where this process is killed.
    """
    name = f"rounds-{secrets.token_hex(4)}"
    scratch, ray = Path(tempfile.gettempdir()) / name, ray_base() / f"{name}r"
    home, empty = scratch / "flwr", scratch / "empty"
    with nothing_left(home, (scratch, ray)):
        for folder in (
            scratch,
            ray,
            home,
            empty,
        ):  # Ray's actors would import the code found where they start
            folder.mkdir(mode=0o700)
        port = free_port()
        link = SuperLink(Control(f"127.0.0.1:{port}", None), scratch, log)
        with log.open("ab") as output:
            process = subprocess.Popen(
                loopback_superlink(port, "--insecure", "--simulation"),
                cwd=empty,
                env=flower_environment(home) | {"RAY_TMPDIR": str(ray)},
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            _wait_until_healthy(link, process)
            yield link
        finally:
            end_superlink(process, str(home))


def run_app(
    link: SuperLink,
    app: Path,
    run_config: RunConfig,
    *,
    num_sites: int,
    cpus_per_site: int,
    tick: Callable[[], None],
    deadline_seconds: float,
) -> str:
    """Submit the app and wait for its end; returns Flower's own status, such as `finished:completed`.

    `tick` is called about every 0.5 s while it runs.
    """
    federation = {"num-supernodes": num_sites, "client-resources-num-cpus": cpus_per_site}
    run_id = link.control.start(str(app), run_config, federation, link.scratch)
    ask = time.monotonic()
    end = ask + deadline_seconds
    while (now := time.monotonic()) < end:
        tick()
        if now >= ask:
            status = link.control.status(run_id)
            if status.startswith("finished"):
                if status != COMPLETED:
                    _keep_log(link, run_id)
                return status
            ask = now + _ASK_SECONDS
        time.sleep(_LOOK_SECONDS)
    link.control.stop(run_id)
    return "finished:deadline"


def _keep_log(link: SuperLink, run_id: int) -> None:
    """Write what the app said before it failed beside the SuperLink's own log."""
    with link.log.with_name("app.log").open("w", encoding="utf-8") as output:
        output.writelines(link.control.log(run_id))


def _wait_until_healthy(link: SuperLink, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise StudyError(
                f"the SuperLink ended with exit status {process.returncode}; see {link.log.name}"
            )
        if health_answers(link.control.superlink, link.control.ca_file):
            return
        time.sleep(0.2)
    raise StudyError(f"the SuperLink did not answer within {_START_SECONDS} s; see {link.log.name}")


def end_superlink(process: subprocess.Popen[bytes], home: str) -> None:
    """End the SuperLink, then whatever else carries our private home in its environment."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    end_all_of(home)
