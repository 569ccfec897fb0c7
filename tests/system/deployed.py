"""A deployed federation on this machine: `rounds-hub serve` with nginx, and `rounds-site run` for each site.

Real processes, real keys, TLS and node authentication on the loopback; only the hospitals are the tests' tiny ones.
Used by the system tests and by the kill matrix (`python -m tests.system.kill_matrix`).
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from client.identity.site_folder import SITE_FILE
from client.node.supernode import NODE
from client.node.supernode import STATUS as NODE_STATUS
from server.runs.run_folder import read_lines
from server.services.running_hub import Hub, is_healthy
from server.services.services import DASHBOARD, FEED, PROXY, REGISTRY, SUPEREXEC, SUPERLINK
from server.studies.resolved_study import asked_study
from server.studies.submissions import SubmittedStudy, find_study
from shared.config.files import read_site, read_yaml, write_yaml
from shared.config.site import SiteConfig
from shared.errors import ServiceError
from shared.processes.service_health import read_status
from tests.system.commands import from_this_repository, hub_command, site_command
from tests.system.founded import REPOSITORY, found_hub, found_site
from tests.system.links import Link
from tests.system.processes import below, of_folder, strays, youngest, zombies
from tests.system.site_records import charged

Settings = Mapping[str, Any]
HUB = "hub"
STUDY, APP = "study", "app"  # the process of the study at the hub, and that of one request at a site
SETTINGS: dict[str, Any] = {  # a quorum of all, so that every round waits for a site that was killed
    "federation.enrolment_seconds": 150.0, "federation.deadline_seconds": 150.0, "federation.quorum": 3,
}  # fmt: skip


@dataclass
class Deployment:
    """A hub and its sites; every process that was started is ended with the block.

    Sites approve the study with `settings`. `rules` holds fields by site that its site.yaml has in place of the
    workspace's, `links` the sites that run behind a link to `address`, where the hub listens.
    """

    folder: Path
    workspace: Path
    names: tuple[str, ...]
    settings: dict[str, Any]
    rules: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    links: Mapping[str, Link] = field(default_factory=dict)
    address: str = ""
    started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    superlink_port: int = 0
    feed_port: int = 0
    dashboard_port: int = 0

    @property
    def hub(self) -> Hub:
        return Hub(self.folder / "hub")

    def make(self) -> None:
        """Make hub and sites, as their people would by `init`, `join` and `admit`."""
        self.address = self.address or f"127.0.0.1:{free_port()}"
        self.superlink_port, self.feed_port, self.dashboard_port = free_port(), free_port(), free_port()
        also = [one.host for one in self.links.values()]
        hub, registry, bundle = found_hub(self.hub.path, self.address, also)
        digest = asked_study(self.workspace / "study.yaml", self.settings).digest()
        for name in self.names:
            raw = read_yaml(self.workspace / "sites" / f"{name}.yaml") | {"approved_studies": [digest]}
            raw["cap"] = {"epsilon": 1000.0, "delta": 1e-5}  # several studies follow each other
            raw |= {
                "reply_after_seconds": "off",
                "max_enrolments": 1000,
            }  # nor does anybody here watch the clock
            raw |= self.rules.get(name, {})
            dialled = self.links[name].address if name in self.links else self.address
            found_site(self.folder / name, raw, hub, dialled, registry, bundle)

    def start_hub(self) -> None:
        command = hub_command(str(self.hub.path), self.address, self.superlink_port)
        own = {"--feed-listen": self.feed_port, "--dashboard-listen": self.dashboard_port}
        words = [word for option, port in own.items() for word in (option, f"127.0.0.1:{port}")]
        self._start(HUB, [*command, *words])  # several hubs on one machine

    def start_site(self, name: str) -> None:
        self._start(name, site_command(str(self.folder / name / SITE_FILE)))

    def start(self) -> None:
        """Start everything, and wait until the hub is healthy."""
        self.start_hub()
        for name in self.names:
            self.start_site(name)
        self.wait_for_hub()

    def wait_for_hub(self) -> None:
        wait_until(lambda: said(is_healthy, self.hub) is not None, 180, "the hub")

    def approve(self, settings: Settings) -> None:
        """Let every site approve the study with these settings over the usual ones, by the command line."""
        file = self.folder / "another-study.yaml"
        write_yaml(file, asked_study(self.workspace / "study.yaml", self.settings | dict(settings)))
        for name in self.names:
            words = ["study", "approve", str(file), "--site", str(self.folder / name / SITE_FILE)]
            done = self.command("client.main", *words)
            assert done.returncode == 0, done.stderr

    def submit(self, settings: Settings | None = None) -> SubmittedStudy:
        """Submit the study by the command line, with these settings over the usual ones; returns it."""
        given = self.settings | dict(settings or {})
        options = [word for key, value in given.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        done = self.command(
            "server.main", "study", "submit", str(self.workspace), "--hub", str(self.hub.path), *options
        )
        assert done.returncode == 0, done.stderr
        return find_study(self.hub.studies, done.stdout.strip())

    def command(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of the two command lines to its end."""
        return subprocess.run(
            [sys.executable, "-m", program, *words], env=environment(), cwd=self.folder,
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def finish(self, study: SubmittedStudy, seconds: float) -> str:
        """Wait for the study's end; returns its state."""
        wait_until(
            lambda: study.read().state in {"completed", "failed", "stopped"}, seconds, "the study's end"
        )
        return study.read().state

    def site(self, name: str) -> SiteConfig:
        """Return a site's own rules."""
        return read_site(self.folder / name / SITE_FILE)

    def charged(self, name: str, study_uid: str) -> list[tuple[Any, ...]]:
        """Return what a site's ledger charged for one study."""
        return charged(self.site(name), study_uid)

    def study_uid(self, study: SubmittedStudy) -> str:
        """Return the study's uid; every run of Flower for it must have had the same."""
        (uid,) = {str(line["uid"]) for line in self.events(study, "study_started")}
        return uid

    def process(self, what: str) -> int | None:
        """Return the process of `hub`, a service of it or its study's, of a site (`film`), its node, its running app.

        None where there is none at present.
        """
        name, _, part = what.partition(" ")
        if what == STUDY:
            return youngest(self.started[HUB].pid, "flwr-serverapp")
        if part == APP:
            return youngest(self.started[name].pid, "flwr-clientapp")
        if what in {SUPERLINK, SUPEREXEC, REGISTRY, PROXY, FEED, DASHBOARD}:
            return self._service(HUB, self.hub.status, what)
        if part == NODE:
            return self._service(name, self.folder / name / "state" / NODE_STATUS, NODE)
        return self.started[what].pid

    def _service(self, supervisor: str, status: Path, service: str) -> int | None:
        """Return a service's process by what its supervisor wrote; None where that is of a supervisor before."""
        try:
            number = read_status(status, "").pid(service)
        except ServiceError:
            return None
        return number if number in {one.pid for one in below(self.started[supervisor].pid)} else None

    def kill(self, what: str) -> int:
        """Kill one process hard, as soon as it is there; returns its number."""
        return self.signal(what, signal.SIGKILL)

    def signal(self, what: str, number: signal.Signals) -> int:
        """Send one process a signal, as soon as it is there; returns the process."""
        end = time.monotonic() + 60
        while (process := self.process(what)) is None:
            assert time.monotonic() < end, f"{what}: no such process within 60 s"
            time.sleep(0.02)
        os.kill(process, number)
        return process

    def kill_everything(self) -> None:
        """Kill all processes of hub and sites at once, as a power cut does, and leave none."""
        while left := self.left():
            for one in left:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            for process in self.started.values():
                process.poll()  # so that it is no zombie

    def events(self, study: SubmittedStudy, name: str) -> list[dict[str, Any]]:
        return [line for line in read_lines(study.folder.events) if line["event"] == name]

    def start_again(self, what: str) -> None:
        """Start `hub` or a site again after it was killed, as a container's engine would."""
        self.started.pop(what).wait(timeout=30)
        if what == HUB:
            self.start_hub()
        else:
            self.start_site(what)

    def end(self) -> None:
        """End everything gently."""
        for process in self.started.values():
            process.terminate()
        for process in self.started.values():
            process.wait(timeout=60)

    def zombies(self) -> list[psutil.Process]:
        """Return what ended below a running supervisor and was never waited for."""
        return zombies(process.pid for process in self.started.values())

    def strays(self) -> list[psutil.Process]:
        """Return what runs beside the supervisors and all that they keep."""
        return strays(self.folder, [process.pid for process in self.started.values()])

    def left(self) -> list[psutil.Process]:
        """Return every process that still runs, of all that was ever started here."""
        return of_folder(self.folder)

    def _start(self, what: str, command: list[str]) -> None:
        before = self.links[what].words if what in self.links else ()
        with (self.folder / f"{what}.log").open("ab") as log:
            self.started[what] = subprocess.Popen(
                [*before, *from_this_repository(command)],
                env=environment() | {"TMPDIR": str(scratch(self.folder))},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )


@contextmanager
def deployed(
    folder: Path, workspace: Path, names: tuple[str, ...], settings: Settings, **more: Any
) -> Iterator[Deployment]:
    """Make and start a federation; on leaving, end it. `more` are further fields of `Deployment`."""
    deployment = Deployment(folder, workspace, names, SETTINGS | dict(settings), **more)
    folder.mkdir(parents=True, exist_ok=True)
    deployment.make()
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.end()


def environment() -> dict[str, str]:
    """Return an environment in which both command lines run this repository's code."""
    return os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}


def said(check: Callable[[Hub], str], hub: Hub) -> str | None:
    """Return what a health check says, None where it finds something."""
    try:
        return check(hub)
    except ServiceError:
        return None


def scratch(folder: Path) -> Path:
    """Return where the services keep their temporary files: by it their processes are known."""
    path = folder / "tmp"
    path.mkdir(exist_ok=True)
    return path


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a state of things; fails with its name after `seconds`."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.2)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


__all__ = ["APP", "HUB", "SETTINGS", "STUDY", "Deployment", "deployed", "free_port", "wait_until"]
