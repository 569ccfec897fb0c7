"""The steps of deploy/README.md as people take them: each command typed as it stands, files passed, words read out.

Only what a reader has to replace is replaced: addresses, names, and where the reader's own files lie.
"""

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import expect

from deploy.laptop.parties import environment, wait_until, words_read_out
from deploy.simulation.phantoms import STYLES, SitePlan, write_phantoms
from tests.chromium import Reader, chromium
from tests.dicom_files import dicom_hospital
from tests.system.deployed import free_port
from tests.system.person import Person

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
        "rounds": 1, "steps": 2, "learning_rate": 0.1, "quorum": 2, "min_sites": 2,
        "enrolment_seconds": 300, "deadline_seconds": 300,
    },
    "audit": {"num_images": 12, "teacher_channels": 8, "min_auc": 0, "min_lung_lift_ratio": 0, "max_mask_area": 1},
}  # fmt: skip


def class_folders(folder: Path, plan: SitePlan) -> None:
    """Put a phantom hospital's films into a folder a class, with a patient's number in each name."""
    scratch = folder.parent / f"{folder.name}-drawn"
    write_phantoms(scratch, sites=[plan], seed=0, size=48)
    for file in sorted(scratch.rglob(f"{plan.name}/*/*.png")):
        if "masks" in file.parts or "lesions" in file.parts:
            continue
        place = folder / file.parent.name
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


def public_films(folder: Path) -> None:
    """Draw the hub's public films, with the regions' masks that the audit needs."""
    write_phantoms(
        folder, sites=[SitePlan("public", {"train": 30, "test": 24}, STYLES["public"])], seed=0, size=48
    )


PASSPHRASE = dict.fromkeys(("Passphrase: ", "Repeat for confirmation: "), "nobody's long passphrase")
FOLDERS = {  # a hospital's films by its name: class folders at one, DICOM with a table at the other
    "north": lambda folder: class_folders(folder, SitePlan("north", {"train": 16}, STYLES["film"])),
    "south": lambda folder: dicom_hospital(folder, SitePlan("south", {"train": 16}, STYLES["children"])),
}
CLUMSY = {  # a third hospital, which makes every mistake
    "west": lambda folder: class_folders(folder, SitePlan("west", {"train": 16}, STYLES["film"])),
}


@dataclass
class Journey:
    """A coordinator and two engineers, their processes, and the way that they go together."""

    office: Person
    hospitals: dict[str, Person]
    running: list[subprocess.Popen[bytes]]
    dashboard: int = 0

    def open_hub(self) -> None:
        """Take steps 1 and 2 of the hub; other tests run hubs on this machine, so its inner ports are others."""
        (init,) = self.office.commands(1)
        self.office.type(init)
        serve, healthy = self.office.commands(2)
        self.dashboard = free_port()
        ports = [
            "--superlink-port", str(free_port()), "--feed-listen", f"127.0.0.1:{free_port()}",
            "--dashboard-listen", f"127.0.0.1:{self.dashboard}",
        ]  # fmt: skip
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
            [sys.executable, "-m", "deploy.simulation.program", "prepare", "--data", data, "--study", study],
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
        (admit,) = (line.replace("north", site) for line in self.office.commands(4))
        assert "fingerprint" in self.office.fails(admit, {"Words: ": wrong})
        self.office.type(admit, {"Words: ": own_words})
        assert "fingerprint" in person.fails(join, {"Words: ": wrong})
        (invite,) = self.office.commands(3)
        person.type(join, {"Words: ": words_read_out(self.office.type(invite.replace("north", site)))})
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

    def study(self) -> None:
        """Take steps 8 to 10 of the hub, 8 of the hospitals."""
        (sites,) = self.office.commands(8)
        shown = self.office.type(sites)
        assert all(site in shown for site in FOLDERS)
        (submit,) = self.office.commands(9)
        shown = self.office.type(submit, seconds=STUDY_SECONDS)
        (name,) = set(re.findall(r"\blungs-\d{8}-\d{6}\b", shown))
        assert f"{name}: completed" in shown
        self.office.replaced["NAME"] = name
        report, backup = self.office.commands(10)
        self.office.type(report, seconds=STUDY_SECONDS)
        self.office.type(backup, PASSPHRASE)
        for person in (self.hospitals[site] for site in FOLDERS):
            ledger, backup, _forget = person.commands(8)
            assert "train patients: epsilon" in person.type(ledger)
            person.type(backup, PASSPHRASE)
        assert (self.office.folder / "hub" / "studies" / name / "report.html").is_file()

    def decide(self) -> None:
        """Read the dashboard as step 10 of the hub says, by the login of step 2: own view first, then the decision."""
        log = (self.office.folder / "rounds-hub.log").read_text(encoding="utf-8")
        found = re.search(r"First login: name (\S+), one-time password (\S+)", log)
        assert found, log
        with chromium() as browser:
            context = browser.new_context()
            context.set_default_timeout(60_000)
            reader = Reader.before(context, f"http://127.0.0.1:{self.dashboard}")
            reader.log_in(*found.groups())
            page = reader.page
            page.get_by_label("One-time password").fill(found.group(2))
            for label in ("New password", "New password once more"):
                page.get_by_label(label, exact=True).fill("nobody's long passphrase")
            page.get_by_role("button", name="Keep the new password").click()
            page.get_by_role("link", name="lungs", exact=True).first.click()
            page.get_by_role("link", name="Model").click()
            page.get_by_label("accept: it may be used").check()
            page.get_by_role("button", name="Record my view").click()
            page.get_by_role("radio", name="accept", exact=True).check()
            page.get_by_label("Reason").fill("drawn films; figures, maps and privacy are as the study asked")
            page.get_by_role("button", name="Record the decision").click()
            expect(page.get_by_text("decided to accept it").first).to_be_visible()
            with page.expect_download() as taken:
                page.get_by_role("link", name="Download the accepted student").click()
            assert Path(taken.value.path()).stat().st_size > 0
            assert (reader.foreign, reader.complaints) == ([], [])
