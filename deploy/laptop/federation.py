"""From nothing to a study on one machine: what a coordinator and two hospitals type, each in a folder of its own.

In: a folder, and ports. Out: a hub with its dashboard and two sites that run, a completed study, and the commands.
"""

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deploy.laptop.parties import REPOSITORY, Party, StepError, environment, wait_until, words_read_out
from shared.config.files import read_study
from shared.data.sources import read_source

HOSPITALS = ("north", "south")
PARCEL = "laptop.study"
_SETUP = ("--patients", r"([^/]+)-[0-9]+\.png", "--declared", "100", "--yes")
STUDY, SITES = (REPOSITORY / "deploy" / kind / "laptop.yaml" for kind in ("studies", "sites"))
_UP_SECONDS = 180.0
_FIRST_LOGIN = re.compile(r"First login: (name \S+, one-time password \S+)")


@dataclass(frozen=True)
class Ports:
    """Where the hub's parts listen on this machine; all but the first are for this machine alone."""

    hub: int = 8443
    superlink: int = 8000
    feed: int = 8444
    dashboard: int = 8470

    def taken(self) -> list[int]:
        """Return those at which something listens already."""
        return [one for one in (self.hub, self.superlink, self.feed, self.dashboard) if not _is_free(one)]


@dataclass
class Federation:
    """A hub and its hospitals below one folder."""

    folder: Path
    ports: Ports
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        self.hub, *self.sites = (Party(name, self.folder / name, self.say) for name in ("hub", *HOSPITALS))

    @property
    def address(self) -> str:
        """Where sites reach the hub."""
        return f"127.0.0.1:{self.ports.hub}"

    def make_folders(self) -> None:
        """Make an empty folder for each."""
        for one in (self.hub, *self.sites):
            one.folder.mkdir(parents=True)

    def prepare(self) -> Path:
        """Draw phantoms, fit the teacher, warm-start the student; each hospital gets its own films as class folders."""
        self.say("preparing public films, teacher and student, and films of two hospitals (drawn, nobody's)")
        words = ["prepare", "--study", str(STUDY), "--sites", str(SITES)]
        with subprocess.Popen(
            [sys.executable, "-m", "deploy.simulation.program", *words], cwd=self.folder, env=environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        ) as running:  # fmt: skip
            lines = []
            for line in running.stdout or ():
                lines.append(line.rstrip())
                self.say(f"{'hub |':<8}" + lines[-1])
        if running.returncode:
            raise StepError(f"preparing ended with {running.returncode}")
        workspace = (self.folder / lines[-1].removeprefix("Prepared: ").strip()).resolve()
        for site in self.sites:
            _hand_over(workspace, site)
        return workspace

    def open_hub(self) -> None:
        """Make the hub, start it, and wait until it answers."""
        host = self.address.partition(":")[0]
        self.hub.type(
            "rounds-hub", "init", "hub", "--name", "laptop", "--address", self.address, "--ip", host
        )
        self.hub.leave_running(
            self.hub.folder / "serve.log",
            "rounds-hub", "serve", "hub", "--listen", self.address,
            "--superlink-port", str(self.ports.superlink),
            "--feed-listen", f"127.0.0.1:{self.ports.feed}",
            "--dashboard-listen", f"127.0.0.1:{self.ports.dashboard}",
        )  # fmt: skip
        wait_until(lambda: self.hub.succeeds("rounds-hub", "healthy", "hub"), _UP_SECONDS, "the hub")
        self.hub.type("rounds-hub", "healthy", "hub")

    def join(self, site: Party) -> None:
        """Let hub and hospital believe each other: a file each way, and words that are read out on the telephone."""
        words = words_read_out(site.type("rounds-site", "init", ".", "--name", site.name))
        site.send(f"{site.name}.pub", self.hub)
        self.hub.type("rounds-hub", "admit", f"{site.name}.pub", "--name", site.name, "--fingerprint", words)
        words = words_read_out(self.hub.type("rounds-hub", "invite"))
        shutil.copy(self.hub.folder / "hub" / "FEDERATION.json", self.hub.folder)
        self.hub.send("FEDERATION.json", site)
        site.type("rounds-site", "join", "FEDERATION.json", "--fingerprint", words)

    def offer(self, workspace: Path) -> dict[str, str]:
        """Write the parcel and send it to the hospitals; returns the digests that the hub shows, by their kind."""
        told = self.hub.type("rounds-hub", "study", "offer", str(workspace), "--out", PARCEL)
        for site in self.sites:
            self.hub.send(PARCEL, site)
        return {
            what: found.group(1)
            for what, pattern in (
                ("study", r"^study .*digest ([0-9a-f]{64})"),
                ("code", r"^code .*sha256 ([0-9a-f]{64})"),
            )
            if (found := re.search(pattern, told, re.MULTILINE))
        }

    def take_everywhere(self, digests: dict[str, str]) -> None:
        """Let all hospitals do so at once, as they would."""
        with ThreadPoolExecutor(len(self.sites)) as pool:
            for one in [pool.submit(self.take, site, digests) for site in self.sites]:
                one.result()

    def take(self, site: Party, digests: dict[str, str]) -> None:
        """Let a hospital fill in its settings, approve code and study of the parcel, check, and start its node."""
        site.type("rounds-site", "setup", "--study", PARCEL, "--source", "images", *_SETUP)
        site.type(
            "rounds-site", "study", "take", PARCEL,
            "--yes-code", digests["code"], "--yes-study", digests["study"],
        )  # fmt: skip
        site.send(f"{site.name}.answer.json", self.hub)
        self.hub.type("rounds-hub", "study", "accept", f"{site.name}.answer.json")
        site.type("rounds-site", "check")
        site.leave_running(site.folder / "run.log", "rounds-site", "run")
        wait_until(lambda: site.succeeds("rounds-site", "healthy"), _UP_SECONDS, f"{site.name}'s node")

    def study(self, workspace: Path) -> None:
        """Run the study, and audit its student; the verdict is then on the dashboard."""
        self.hub.type("rounds-hub", "sites")
        told = self.hub.type("rounds-hub", "study", "submit", str(workspace), "--wait")
        name = told.split()[0]
        self.hub.type("rounds-hub", "report", f"hub/studies/{name}", "--workspace", str(workspace))
        for site in self.sites:
            site.type("rounds-site", "ledger", "show")

    def first_login(self) -> str:
        """Return name and one-time password of the first coordinator, as the hub's log has them once."""
        found = _FIRST_LOGIN.search((self.hub.folder / "serve.log").read_text(encoding="utf-8"))
        return found.group(1) if found else ""


def _is_free(port: int) -> bool:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _hand_over(workspace: Path, site: Party) -> None:
    """Put a hospital's films where it keeps them: a folder a class, a patient's number in each name."""
    study = read_study(workspace / "study.yaml")
    for patient in read_source(workspace / "manifests" / f"{site.name}.csv", study.task):
        for number, image in enumerate(patient.images):
            split, label = image.split, study.task.classes[image.label]
            folder = site.folder / "images" / split / label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(image.file, folder / f"{patient.patient_id}-{number}{image.file.suffix}")
