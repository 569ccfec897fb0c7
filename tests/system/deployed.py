"""A deployed federation on this machine: `rounds-hub serve` with nginx, and `rounds-site run` for each site.

Real processes, real keys, TLS and node authentication on the loopback; only the hospitals are the tests' tiny ones.
Used by the system tests and by the kill matrix (`python -m tests.system.kill_matrix`).
"""

import json
import os
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from flwr.cli.build import build_fab_from_disk
from typer.testing import CliRunner

from client.cli import app as site_app
from client.ledger import Ledger
from client.ledger_file import LedgerFile
from client.node import NODE
from client.node import STATUS as NODE_STATUS
from client.site_folder import SITE_FILE, join_federation, make_site
from server.app import submitted_study
from server.authority import Names
from server.hub_folder import make_hub
from server.registry import Registry
from server.run_folder import read_lines
from server.services import FEED, PROXY, REGISTRY, SUPEREXEC, SUPERLINK, Hub, is_healthy
from server.submissions import SubmittedStudy, find_study
from shared.config_files import parse_site, read_site, read_yaml, write_yaml
from shared.errors import ServiceError
from shared.service_health import read_status
from tests.system.commands import from_this_repository, hub_command, site_command
from tests.system.links import Link

Settings = Mapping[str, Any]
REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS: dict[str, Any] = {  # a quorum of all, so that every round waits for a site that was killed
    "federation.enrolment_seconds": 150.0, "federation.deadline_seconds": 150.0, "federation.quorum": 3,
}  # fmt: skip


@dataclass
class Deployment:
    """A hub and its sites; every process that was started is ended with the block.

    `rules` holds fields by site that its site.yaml has in place of the workspace's, `links` the sites that run behind
    a link to `address`, where the hub listens.
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

    @property
    def hub(self) -> Hub:
        return Hub(self.folder / "hub")

    def make(self) -> None:
        """Make hub and sites, as their people would by `init`, `join` and `admit`."""
        self.address = self.address or f"127.0.0.1:{free_port()}"
        self.superlink_port, self.feed_port = free_port(), free_port()
        names = Names.of([], ["127.0.0.1", *(link.host for link in self.links.values())])
        hub = make_hub(self.hub.path, "tiny", self.address, names)
        digest = submitted_study(self.workspace, self.settings).digest()
        bundle = self.folder / "app.fab"
        with warnings.catch_warnings():  # Flower's build uses an old name of a pattern of pathspec
            warnings.simplefilter("ignore", DeprecationWarning)
            bundle.write_bytes(build_fab_from_disk(REPOSITORY))
        registry = Registry(hub.path / "registry")
        registry.add(bundle)
        for name in self.names:
            site = self.folder / name
            introduction = make_site(site, name)
            raw = read_yaml(self.workspace / "sites" / f"{name}.yaml")
            own = {
                "state_dir": site / "state",
                "head_file": site / "head" / "ledger.head",
                "keys_dir": site / "keys",
            }
            raw |= {key: str(path) for key, path in own.items()} | {"approved_studies": [digest]}
            raw["cap"] = {"epsilon": 1000.0, "delta": 1e-5}  # several studies follow each other
            raw |= self.rules.get(name, {})
            write_yaml(site / SITE_FILE, parse_site(raw))
            dialled = self.links[name].address if name in self.links else self.address
            join_federation(site / SITE_FILE, hub.invitation().model_copy(update={"address": dialled}))
            with hub.sites() as sites:
                sites.admit(introduction)
            approve = ["code", "approve", str(bundle), "--site", str(site / SITE_FILE)]
            assert CliRunner().invoke(site_app, approve).exit_code == 0
            registry.sign_in(site / f"{name}.signatures.json", name, introduction.approval_key)

    def start_hub(self) -> None:
        command = hub_command(str(self.hub.path), self.address, self.superlink_port)
        self._start(
            "hub", [*command, "--feed-listen", f"127.0.0.1:{self.feed_port}"]
        )  # several hubs on one machine

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

    def submit(self) -> SubmittedStudy:
        """Submit the study by the command line; returns it."""
        options = [
            word for key, value in self.settings.items() for word in ("--set", f"{key}={json.dumps(value)}")
        ]
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

    def charged(self, name: str, study_uid: str) -> list[tuple[Any, ...]]:
        """Return what a site's ledger charged for one study: round, request, mechanism, and how it ended."""
        config = read_site(self.folder / name / SITE_FILE)
        path = config.state_dir / "ledger.sqlite"
        with Ledger.open(path, config.head_file) as ledger:
            ledger.verify()
        rows = LedgerFile(path, config.head_file).rows()
        return sorted(
            (row.round, row.request_kind, row.kind, row.mechanism or "")
            for row in rows
            if row.study_uid == study_uid
        )

    def study_uid(self, study: SubmittedStudy) -> str:
        """Return the study's uid; every run of Flower for it must have had the same."""
        (uid,) = {str(line["uid"]) for line in self.events(study, "study_started")}
        return uid

    def process(self, what: str) -> int | None:
        """Return the process of `hub`, of one of its services, of a site (`film`) or of its node (`film node`)."""
        try:
            if what in {SUPERLINK, SUPEREXEC, REGISTRY, PROXY, FEED}:
                return read_status(self.hub.status, "").pid(what)
            if what.endswith(f" {NODE}"):
                return read_status(self.folder / what.split(maxsplit=1)[0] / "state" / NODE_STATUS, "").pid(
                    NODE
                )
        except ServiceError:
            return None
        return self.started[what].pid

    def kill(self, what: str) -> int:
        """Kill one process hard; returns its number."""
        wait_until(lambda: self.process(what) is not None, 30, what)
        number = self.process(what)
        assert number is not None
        os.kill(number, 9)
        return number

    def events(self, study: SubmittedStudy, name: str) -> list[dict[str, Any]]:
        return [line for line in read_lines(study.folder.events) if line["event"] == name]

    def start_again(self, what: str) -> None:
        """Start `hub` or a site again after it was killed, as a container's engine would."""
        self.started.pop(what).wait(timeout=30)
        if what == "hub":
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
        family = [
            one for top in self.started.values() for one in psutil.Process(top.pid).children(recursive=True)
        ]
        return [one for one in family if one.status() == psutil.STATUS_ZOMBIE]

    def left(self) -> list[psutil.Process]:
        """Return every process that still runs, of all that was ever started here."""
        return [one for one in psutil.process_iter() if belongs(one, self.folder)]

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


def belongs(process: psutil.Process, folder: Path) -> bool:
    """Tell whether a process was started by this deployment: its working folder or a word of it lies there."""
    try:
        told = " ".join([process.cwd(), *process.cmdline(), *process.environ().values()])
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False
    return process.pid != os.getpid() and str(folder) in told


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


__all__ = ["SETTINGS", "Deployment", "deployed", "free_port", "wait_until"]
