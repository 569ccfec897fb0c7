"""Run a Flower app on this machine with a SuperLink of our own, and leave no process behind.

As shipped, `flwr run` leaves a daemon that keeps the first caller's environment, and `--stream` exits 0 when a
run failed (measured on 1.41.0). So: a private SuperLink on a free port, in an empty folder, with its own home;
the true outcome read from `flwr list`; everything we started ended by process id.
"""

import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from shared.errors import StudyError
from shared.flower_environment import bin_folder, flower_environment
from shared.processes import end_processes
from shared.supervisor import free_port

_START_SECONDS = 90
_ASK_EVERY_SECONDS = 20  # `flwr list` starts a Python process, which the sites' training would feel
_LAST_WORD_SECONDS = 60
_CONNECTION = "rounds"
COMPLETED = "finished:completed"


@dataclass(frozen=True)
class SuperLink:
    """A running SuperLink: how to reach it, its environment and where it logs."""

    port: int
    environment: Mapping[str, str]
    log: Path


@contextmanager
def superlink(log: Path) -> Iterator[SuperLink]:
    """Start a simulation SuperLink in an empty folder; on leaving, end it and everything it started."""
    with tempfile.TemporaryDirectory(prefix="rounds-") as scratch:
        home = Path(scratch) / "flwr"
        home.mkdir()
        empty = Path(scratch) / "empty"  # started elsewhere, Ray's actors would import the code found there
        empty.mkdir()
        port = free_port()
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "{_CONNECTION}"\n'
            f'[superlink.{_CONNECTION}]\naddress = "127.0.0.1:{port}"\ninsecure = true\n',
            encoding="utf-8",
        )
        environment = flower_environment(home) | {"RAY_TMPDIR": scratch}
        command = [
            f"{bin_folder()}/flower-superlink", "--insecure", "--simulation",
            "--host", "127.0.0.1", "--port", str(port), "--disable-runtime-dependency-installation",
        ]  # fmt: skip
        with log.open("ab") as output:
            process = subprocess.Popen(
                command, cwd=empty, env=environment, stdout=output, stderr=output, start_new_session=True
            )
        try:
            _wait_until_healthy(port, process, log)
            yield SuperLink(port, environment, log)
        finally:
            end_superlink(process, str(home))


def run_app(
    link: SuperLink,
    app: Path,
    run_config: Mapping[str, str | int | float | bool],
    *,
    num_sites: int,
    cpus_per_site: int,
    finished: Callable[[], bool],
    tick: Callable[[], None],
    deadline_seconds: float,
) -> str:
    """Submit the app and wait for its end; returns Flower's own status, such as `finished:completed`.

    `finished` tells from the run's records that it is over; Flower is then asked for the true outcome.
    """
    settings = " ".join(f"{key}={json.dumps(value)}" for key, value in run_config.items())
    federation = f"num-supernodes={num_sites} client-resources-num-cpus={cpus_per_site}"
    submitted = _flwr(
        link, "run", str(app), _CONNECTION, "--format", "json", "--run-config", settings,
        "--federation-config", federation,
    )  # fmt: skip
    run_id = str(submitted["run-id"])
    end = time.monotonic() + deadline_seconds
    asked = time.monotonic()
    while time.monotonic() < end:
        tick()
        over = finished()
        if over or time.monotonic() - asked > _ASK_EVERY_SECONDS:
            status = _settled_status(link, run_id) if over else _status(link, run_id)
            if status.startswith("finished"):
                if status != COMPLETED:
                    _keep_log(link, run_id)
                return status
            asked = time.monotonic()
        time.sleep(0.5)
    _flwr(link, "stop", run_id, _CONNECTION, "--format", "json")
    return "finished:deadline"


def _settled_status(link: SuperLink, run_id: str) -> str:
    end = time.monotonic() + _LAST_WORD_SECONDS
    status = _status(link, run_id)
    while not status.startswith("finished") and time.monotonic() < end:
        time.sleep(0.5)
        status = _status(link, run_id)
    return status


def _status(link: SuperLink, run_id: str) -> str:
    listed = _flwr(link, "list", _CONNECTION, "--run-id", run_id, "--format", "json")
    runs = listed.get("runs") or [{}]
    return str(runs[0].get("status", "unknown")) if isinstance(runs, list) else "unknown"


def _keep_log(link: SuperLink, run_id: str) -> None:
    """Write what the app said before it failed beside the SuperLink's own log."""
    flwr = str(bin_folder() / "flwr")
    with link.log.with_name("app.log").open("wb") as output:
        subprocess.run(
            [flwr, "log", run_id, _CONNECTION, "--show"],
            env=dict(link.environment), stdout=output, stderr=output, timeout=60, check=False,
        )  # fmt: skip


def _flwr(link: SuperLink, *words: str) -> dict[str, object]:
    flwr = str(bin_folder() / "flwr")
    done = subprocess.run(
        [flwr, *words], env=dict(link.environment), capture_output=True, text=True, timeout=180, check=False
    )
    start = done.stdout.find("{")
    if done.returncode != 0 or start < 0:
        what = (done.stdout + done.stderr).strip().splitlines()
        raise StudyError(
            f"flwr {words[0]} failed with exit status {done.returncode}: {' '.join(what[-6:])} "
            f"(command: flwr {shlex.join(words)})"
        )
    answer: dict[str, object] = json.loads(done.stdout[start:])
    if answer.get("success") is False:
        raise StudyError(f"flwr {words[0]}: {answer.get('error-message', 'failed without a word')}")
    return answer


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise StudyError(f"the SuperLink ended with exit status {process.returncode}; see {log.name}")
        try:
            with urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (URLError, OSError):
            time.sleep(0.2)
    raise StudyError(f"the SuperLink did not answer within {_START_SECONDS} s; see {log.name}")


def end_superlink(process: subprocess.Popen[bytes], home: str) -> None:
    """End the SuperLink, then whatever else carries our private home in its environment."""
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    end_processes(_ours(home))


def _ours(home: str) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.environ().get("FLWR_HOME") == home:
                yield process
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
