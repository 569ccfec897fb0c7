"""The steps of deploy/README.md, typed at terminals as they stand there: from nothing to an audited student.

One hospital has class folders, the other DICOM. Only what a reader has to replace is replaced: addresses, names, and
where the reader's own files lie. Files are passed as people would, and words are read out.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml

from deploy.laptop.parties import environment, wait_until, words_read_out
from shared.phantoms import STYLES, SitePlan, write_phantoms
from tests.dicom_files import dicom_hospital
from tests.needs import NGINX
from tests.system.deployed import free_port
from tests.terminal import REPOSITORY, terminal

pytestmark = NGINX
DOCS = REPOSITORY / "deploy" / "README.md"
PROGRAMS = {"rounds-hub": "server.main", "rounds-site": "client.main"}
UP_SECONDS, STUDY_SECONDS = 180.0, 480.0
STUDY = {
    "schema_version": 1,
    "name": "lungs",
    "purpose": "Type the documents.",
    "ethics_reference": "none needed (no person's image)",
    "expires": "2035-12-31",
    "task": {"classes": ["normal", "opacity"], "positive": "opacity", "image_size": 32},
    "models": {
        "teacher": {"name": "resnet10t"},
        "student": {"architecture": {"kernels": [3] * 20, "expand_ratios": [3] * 20, "depths": [2] * 5}},
        "explainer": {"width": 4},
    },
    "warm_start": {"epochs": 1, "batch_size": 8},
    "privacy": {"epsilon": 8.0, "delta": 1e-5, "sample_rate": 0.5},
    "federation": {
        "rounds": 2, "steps": 2, "learning_rate": 0.1, "quorum": 2, "min_sites": 2,
        "enrolment_seconds": 300, "deadline_seconds": 300,
    },
    "audit": {"num_images": 4, "min_auc": 0.5},
}  # fmt: skip


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


@pytest.fixture
def running() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Collect what is left running, and end it, the last first."""
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for one in reversed(started):
        if one.poll() is None:
            one.terminate()
            try:
                one.wait(60)
            except subprocess.TimeoutExpired:
                for below in [*psutil.Process(one.pid).children(recursive=True), psutil.Process(one.pid)]:
                    below.kill()
                one.wait()


def class_folders(folder: Path, plan: SitePlan, *, splits: bool) -> None:
    """Put a phantom hospital's films into a folder a class, with a patient's number in each name."""
    scratch = folder.parent / f"{folder.name}-drawn"
    write_phantoms(scratch, sites=[plan], seed=0, size=48)
    for file in sorted(scratch.rglob(f"{plan.name}/*/*.png")):
        if "masks" in file.parts or "lesions" in file.parts:
            continue
        split = file.name.split("-")[1]
        place = folder / split / file.parent.name if splits else folder / file.parent.name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    shutil.rmtree(scratch)


ANSWERS = {  # what an engineer types behind each of setup's questions
    "Folder of the images, or their table: ": "images",
    "Which of these is it [": "",
    "Column of the label [": "",
    "(number, pattern or each): ": "1",
    "LABEL= leaves it out): ": "yes",
    "leaves it out) [yes]: ": "yes",
    "Declared training patients": "12",
    "Cap: epsilon [": "",
    "Write this [yes]: ": "",
}


PASSPHRASE = dict.fromkeys(("Passphrase: ", "Repeat for confirmation: "), "nobody's long passphrase")
FOLDERS = {  # a hospital's films by its name: class folders at one, DICOM with a table at the other
    "north": lambda folder: class_folders(
        folder, SitePlan("north", {"train": 16}, STYLES["film"]), splits=False
    ),
    "south": lambda folder: dicom_hospital(folder, SitePlan("south", {"train": 16}, STYLES["children"])),
}


@dataclass
class Journey:
    """A coordinator and two engineers, their processes, and the way that they go together."""

    office: Person
    hospitals: dict[str, Person]
    running: list[subprocess.Popen[bytes]]

    def open_hub(self) -> None:
        """Take steps 1 and 2 of the hub; other tests run hubs on this machine, so its inner ports are others."""
        (init,) = self.office.commands(1)
        self.office.type(init)
        serve, healthy = self.office.commands(2)
        inner = {"--superlink-port": "", "--feed-listen": "127.0.0.1:", "--dashboard-listen": "127.0.0.1:"}
        ports = [word for option, host in inner.items() for word in (option, f"{host}{free_port()}")]
        self.running.append(self.office.leave_running(serve, *ports))
        wait_until(lambda: self.office.succeeds(healthy), UP_SECONDS, "the hub")
        self.office.type(healthy)

    def join(self, site: str) -> None:
        """Take steps 3 and 4 of the hub, 1 and 2 of a hospital."""
        person = self.hospitals[site]
        (init,) = person.commands(1)
        own_words = words_read_out(person.type(init))
        shutil.copy(person.folder / f"{site}.pub", self.office.folder)
        (admit,) = self.office.commands(4)
        self.office.type(admit.replace("north", site), {"Words: ": own_words})
        (invite,) = self.office.commands(3)
        words = words_read_out(self.office.type(invite.replace("north", site)))
        shutil.copy(self.office.folder / "hub" / "FEDERATION.json", person.folder)
        join, keys = person.commands(2)
        person.type(join, {"Words: ": words})
        person.type(keys)

    def offer(self) -> None:
        """Take steps 5 and 6 of the hub; `make prepare` is what it runs, for `make` stands in the repository."""
        (prepare,) = self.office.commands(5)
        data, study = (word.partition("=")[2] for word in prepare.split()[2:])
        done = subprocess.run(
            [sys.executable, "-m", "deploy.simulate", "prepare", "--data", data, "--study", study],
            cwd=self.office.folder, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        workspace = done.stdout.splitlines()[-1].removeprefix("Prepared: ")
        self.office.replaced["/workspaces/lungs"] = workspace
        (offer,) = self.office.commands(6)
        self.office.type(offer)

    def take(self, site: str) -> None:
        """Take steps 3 to 7 of a hospital, 7 of the hub."""
        person = self.hospitals[site]
        shutil.copy(self.office.folder / "lungs.study", person.folder)
        (setup,) = person.commands(3)
        person.type(setup, ANSWERS)
        (preview,) = person.commands(4)
        person.type(preview)
        (take,) = person.commands(5)
        person.type(take, {"Type yes or no: ": "yes"})
        shutil.copy(person.folder / f"{site}.answer.json", self.office.folder)
        (accept,) = self.office.commands(7)
        self.office.type(accept.replace("north", site))
        (check,) = person.commands(6)
        person.type(check)
        (run,) = person.commands(7)
        self.running.append(person.leave_running(run))

    def mistakes(self, site: str) -> None:
        """Make what people get wrong before the right thing, and see that it is told where it was made."""
        person = self.hospitals[site]
        join, _ = person.commands(2)
        wrong = " ".join(["abandon"] * 12)
        (init,) = person.commands(1)
        own_words = words_read_out(person.type(init))
        shutil.copy(person.folder / f"{site}.pub", self.office.folder)
        shutil.copy(self.office.folder / "hub" / "FEDERATION.json", person.folder)
        (admit,) = self.office.commands(4)
        assert "fingerprint" in self.office.fails(admit, {"Words: ": wrong})
        self.office.type(admit, {"Words: ": own_words})
        assert "fingerprint" in person.fails(join, {"Words: ": wrong})
        (invite,) = self.office.commands(3)
        person.type(join, {"Words: ": words_read_out(self.office.type(invite))})
        shutil.copy(self.office.folder / "lungs.study", person.folder)
        take = person.commands(5)[0]
        assert "declared_patients not filled in yet; do it with `rounds-site setup`" in person.fails(take)
        (setup,) = person.commands(3)
        person.type(f"{setup} --cap-epsilon 1", ANSWERS)
        assert "is not approved; nothing was changed" in person.fails(take, {"Type yes or no: ": "no"})
        person.type(take, {"Type yes or no: ": "yes"})
        (check,) = person.commands(6)
        told = person.fails(check)
        assert re.search(
            r"fail budget: epsilon 0\.00 spent, the whole study would bring it to [78]\.\d\d, the cap is 1: "
            r"this site does not enrol, and spends nothing",
            told,
        )
        other = person.folder / "other.study"
        content = bytearray((person.folder / "lungs.study").read_bytes())
        content[-1] ^= 1
        other.write_bytes(bytes(content))
        assert "cut or was altered; ask the hub for the parcel again" in person.fails(
            take.replace("lungs.study", "other.study")
        )

    def study(self) -> Path:
        """Take steps 8 to 10 of the hub, 8 of the hospitals; returns the study's folder."""
        (sites,) = self.office.commands(8)
        shown = self.office.type(sites)
        assert all(site in shown for site in self.hospitals)
        (submit,) = self.office.commands(9)
        shown = self.office.type(submit, seconds=STUDY_SECONDS)
        (name,) = set(re.findall(r"\blungs-\d{8}-\d{6}\b", shown))
        assert f"{name}: completed" in shown
        self.office.replaced["NAME"] = name
        report, backup = self.office.commands(10)
        self.office.type(report, seconds=STUDY_SECONDS)
        self.office.type(backup, PASSPHRASE)
        for person in self.hospitals.values():
            ledger, backup, _forget = person.commands(8)
            assert "train patients: epsilon" in person.type(ledger)
            person.type(backup, PASSPHRASE)
        return self.office.folder / "hub" / "studies" / name


@pytest.fixture
def journey(tmp_path: Path, running: list[subprocess.Popen[bytes]]) -> Journey:
    """Give everybody a folder, with what they have before they begin."""
    port = free_port()
    office = Person(tmp_path / "office", "At the hub, in ten commands", {
        "hub.example.org:8443": f"localhost:{port}", "hub.example.org": "localhost",
        "0.0.0.0:8443": f"127.0.0.1:{port}", "/backup/": "", "DATA=folder": "DATA=public",
    })  # fmt: skip
    hospitals = {
        site: Person(tmp_path / site, "At a hospital, in eight commands", {"north": site, "/backup/": ""})
        for site in FOLDERS
    }
    for person in (office, *hospitals.values()):
        person.folder.mkdir()
    for site, make in FOLDERS.items():
        make(hospitals[site].folder / "images")
    plan = SitePlan("public", {"train": 30, "test": 12}, STYLES["public"])
    class_folders(office.folder / "public", plan, splits=True)
    (office.folder / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    return Journey(office, hospitals, running)


@pytest.mark.timeout(1500)
def test_the_documents_typed_as_they_stand(journey: Journey) -> None:
    """The steps at the hub and at each hospital bring a study to its end and its report; no command fails."""
    journey.open_hub()
    for site in journey.hospitals:
        journey.join(site)
    journey.offer()
    for site in journey.hospitals:
        journey.take(site)
    folder = journey.study()
    assert (folder / "report.html").is_file()


@pytest.mark.timeout(900)
def test_mistakes_are_told_where_they_are_made(journey: Journey) -> None:
    """Wrong words, an order that is not the documents', no yes, a small cap, an altered parcel: one sentence each."""
    journey.open_hub()
    journey.offer()
    journey.mistakes("north")
