"""A whole small study between one hub's and two sites' images, each as its own user, on its volumes, without internet.

Every step is a command line that `deploy/README.md` gives; what people send each other is copied, what they read out
is handed on. All of it happens in a network of its own that has a loopback and nothing else.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from deploy.images.inside import Finding
from deploy.images.place import Place
from deploy.images.storage import USER, Container, ImageError
from deploy.laptop.parties import wait_until, words_read_out

REPOSITORY = Path(__file__).resolve().parents[2]
ADDRESS = "127.0.0.1:8443"
NUM_PATIENTS = 12
SITES = ("north", "south")
STUDY: dict[str, Any] = {
    "schema_version": 1,
    "name": "images",
    "purpose": "Show that hub and sites work from their images; no clinical use.",
    "ethics_reference": "none needed (no person's image)",
    "expires": "2035-12-31",
    "task": {"classes": ["normal", "opacity"], "positive": "opacity", "image_size": 32},
    "models": {"teacher": {"name": "resnet10t"}, "explainer": {"width": 4}},
    "warm_start": {"epochs": 1, "batch_size": 8},
    "privacy": {"noise_multiplier": 1.0, "sample_rate": 0.5, "trainable": "scales"},
    "federation": {
        "rounds": 2, "steps": 2, "learning_rate": 0.1, "quorum": 2, "min_sites": 2,
        "enrolment_seconds": 600, "deadline_seconds": 600,
    },
}  # fmt: skip
HOSPITALS: dict[str, Any] = {
    "title": "hospitals of the images' study (phantoms)",
    "phantoms": {
        "public": {"style": "public", "train": 24, "max_images": 1},
        "north": {"style": "film", "train": NUM_PATIENTS, "val": 2, "test": 4},
        "south": {"style": "bedside", "train": NUM_PATIENTS, "val": 2, "test": 4},
    },
    "public_site": "public",
    "declared_patients": dict.fromkeys(SITES, NUM_PATIENTS),
    "cap_epsilon": 1000.0,
    "cap_delta": 0.00001,
    "teacher_epochs": 1,
}
_UP_SECONDS, _STUDY_SECONDS = 300.0, 1800.0
_OWN = int(USER.partition(":")[0])


@dataclass
class Study:
    """What the study showed: findings, one line on the study, and what each site spent."""

    findings: list[Finding] = field(default_factory=list)
    verdict: str = "not begun"

    def find(self, rule: str, broken: Sequence[str] = ()) -> None:
        """Add a finding."""
        self.findings.append(Finding(rule, tuple(broken)))


@contextmanager
def network() -> Iterator[str]:
    """Make a network that has a loopback alone; needs root and iproute2."""
    name = f"rounds-images-{os.getpid()}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    try:
        subprocess.run(["ip", "-n", name, "link", "set", "lo", "up"], check=True)
        yield name
    finally:
        subprocess.run(["ip", "netns", "delete", name], check=True)


def run_study(
    hub: Container, sites: Mapping[str, Container], folder: Path, say: Callable[[str], None]
) -> Study:
    """Run it; whatever fails is a finding or raises, and nothing is left running."""
    shown = Study()
    workspace = prepared(folder / "prepared")
    with network() as net, ExitStack() as ending:
        office = Place(
            "hub",
            hub,
            _volumes(folder / "hub", hub) | {"/workspaces": workspace.parent},
            net,
            ("/workspaces",),
        )
        hospitals = [
            Place(
                name,
                sites[name],
                _volumes(folder / name, sites[name]) | {"/data": workspace / "data"},
                net,
                ("/data",),
            )
            for name in SITES
        ]
        everybody = [office, *hospitals]
        for place in everybody:
            ending.callback(place.kill)
        roots = {place.name: _listing(place.container.root) for place in everybody}
        shown.find(
            "health checks fail before anything runs", [one.name for one in everybody if one.healthy()]
        )
        say("the hub: init, serve, code")
        bundle = _found_hub(office, folder)
        for hospital in hospitals:
            say(f"{hospital.name}: init, join, admit, approve, check, run")
            _found_site(hospital, office, bundle, workspace, folder)
        wait_until(lambda: all(one.healthy() for one in everybody), _UP_SECONDS, "health checks of all")
        shown.find("health checks succeed while everything runs")
        say("the study")
        _submitted(office, hospitals, workspace, shown)
        shown.find("SIGTERM ends each, and nothing is left",
                   [f"{one.name} {why}" for one in reversed(everybody) if (why := one.stop())])  # fmt: skip
        shown.find("health checks fail afterwards", [one.name for one in everybody if one.healthy()])
        shown.find("roots are as they were: they could be read-only",
                   [f"{one.name}: {place}" for one in everybody
                    for place in _changed(roots[one.name], _listing(one.container.root))])  # fmt: skip
        shown.find(f"volumes are {_OWN}'s, and nobody else reads them, nor a key in them",
                   [wrong for one in everybody for wrong in _open_files(one)])  # fmt: skip
    return shown


def prepared(folder: Path) -> Path:
    """Prepare phantoms, teacher and warm start as `make prepare` does; returns the workspace, readable by all."""
    folder.mkdir(parents=True)
    for name, raw in (("study.yaml", STUDY), ("sites.yaml", HOSPITALS)):
        with (folder / name).open("w", encoding="utf-8") as file:
            YAML(typ="safe").dump(raw, file)
    command = [
        sys.executable,
        "-m",
        "deploy.simulation.program",
        "prepare",
        "--study",
        "study.yaml",
        "--sites",
        "sites.yaml",
    ]
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ImageError(f"preparing: ended with {done.returncode}: {done.stderr.strip()[-400:]}")
    (workspace,) = {path.parent.resolve() for path in folder.glob("results/workspaces/*/study.yaml")}
    subprocess.run(
        ["chmod", "--recursive", "a+rX", workspace], check=True
    )  # weights are written for their owner
    return workspace


def _volumes(folder: Path, container: Container) -> dict[str, Path]:
    """Make a folder for each volume of the image, as an engine does: with the owner and mode that it has in there."""
    made = {}
    for place in sorted(container.config["Volumes"]):
        inside, path = (
            (container.root / place.lstrip("/")).stat(),
            folder / place.strip("/").replace("/", "-"),
        )
        path.mkdir(parents=True)
        os.chown(path, inside.st_uid, inside.st_gid)
        path.chmod(inside.st_mode & 0o7777)
        made[place] = path
    scratch = folder / "tmp"  # the compose files' tmpfs
    scratch.mkdir()
    scratch.chmod(0o1777)
    return made | {"/tmp": scratch}  # noqa: S108 - the containers' own


def _found_hub(hub: Place, folder: Path) -> str:
    """Make the hub, start it and give it the app; returns the bundle's name, which is in the hub's folder."""
    hub.done(
        "rounds-hub",
        "init",
        "/hub",
        "--name",
        "images",
        "--address",
        ADDRESS,
        "--ip",
        ADDRESS.partition(":")[0],
    )
    hub.start(folder / "hub.log")
    wait_until(hub.healthy, _UP_SECONDS, "the hub's health check")
    hub.done("sh", "-c", "cd /hub && flwr build --app /app")
    (bundle,) = hub.volumes["/hub"].glob("*.fab")
    hub.done("rounds-hub", "code", "add", f"/hub/{bundle.name}", "--hub", "/hub")
    return bundle.name


def _found_site(site: Place, hub: Place, bundle: str, workspace: Path, folder: Path) -> None:
    """Make a site, let each side know the other, let the hospital approve code and study, check, and start it."""
    name, here = site.name, site.volumes["/site"]
    words = words_read_out(site.done("rounds-site", "init", "/site", "--name", name))
    _sent(here / f"{name}.pub", hub.volumes["/hub"])
    hub.done(
        "rounds-hub", "admit", f"/hub/{name}.pub", "--name", name, "--fingerprint", words, "--hub", "/hub"
    )
    _sent(hub.volumes["/hub"] / "FEDERATION.json", here)
    words = words_read_out(hub.done("rounds-hub", "invite", "--hub", "/hub"))
    joining = (
        "rounds-site",
        "join",
        "/site/FEDERATION.json",
        "--site",
        "/site/site.yaml",
        "--fingerprint",
        words,
    )
    site.done(*joining)
    _fill_in(here / "site.yaml", name, workspace)
    _sent(hub.volumes["/hub"] / bundle, here)
    _sent(workspace / "study.yaml", here)
    for weights in (workspace / "weights").iterdir():
        _sent(weights, here / "weights")
    site.done("rounds-site", "code", "show", f"/site/{bundle}", "--site", "/site/site.yaml")
    site.done("rounds-site", "code", "approve", f"/site/{bundle}", "--site", "/site/site.yaml")
    _sent(here / f"{name}.signatures.json", hub.volumes["/hub"])
    hub.done(
        "rounds-hub",
        "code",
        "sign-in",
        f"/hub/{name}.signatures.json",
        "--pub",
        f"/hub/{name}.pub",
        "--hub",
        "/hub",
    )
    site.done("rounds-site", "study", "show", "/site/study.yaml", "--site", "/site/site.yaml")
    site.done("rounds-site", "study", "approve", "/site/study.yaml", "--site", "/site/site.yaml")
    site.done("rounds-site", "check", "/site/site.yaml", "/site/study.yaml")
    site.start(folder / f"{name}.log")


def _submitted(hub: Place, sites: list[Place], workspace: Path, shown: Study) -> None:
    """Submit the study and wait for its end; look at report and ledgers."""
    place = f"/workspaces/{workspace.name}"
    submitted = hub.tried(
        "timeout", f"{_STUDY_SECONDS:.0f}", "rounds-hub", "study", "submit", place, "--hub", "/hub", "--wait"
    )
    name = (submitted.stdout.split() or [""])[0]
    why = [] if submitted.returncode == 0 else [(submitted.stdout + submitted.stderr).strip()[-600:]]
    shown.find("the study is completed", why)
    if why:
        shown.verdict = "failed"
        return
    (told,) = json.loads(hub.done("rounds-hub", "study", "status", name, "--hub", "/hub", "--json"))
    hub.done("rounds-hub", "report", f"/hub/studies/{name}", "--workspace", place)
    spent = []
    for site in sites:
        site.done("rounds-site", "ledger", "verify", "/site/site.yaml")
        ledger = site.done("rounds-site", "ledger", "show", "/site/site.yaml")
        (line,) = [one for one in ledger.splitlines() if one.startswith("train patients:")]
        spent.append(f"{site.name} {line.partition(': ')[2].partition(' at ')[0]}")
    answered = sorted(told["bytes_sent"])
    shown.find("every site answered", [name for name in SITES if name not in answered])
    shown.verdict = (
        f"{told['state']}, {told['rounds']} rounds, {told['runs']} run of Flower; {'; '.join(spent)}"
    )


def _fill_in(file: Path, name: str, workspace: Path) -> None:
    """Fill in site.yaml as a person at the hospital does; everything else stays as `init` and `join` wrote it."""
    yaml = YAML()
    raw = yaml.load(file.read_text(encoding="utf-8"))
    raw["data"]["source"], raw["data"]["site"] = "/data/manifest.csv", name
    raw["declared_patients"] = NUM_PATIENTS
    raw["cap"]["epsilon"] = HOSPITALS["cap_epsilon"]
    raw["accepted_digests"] = {one.stem: "public" for one in (workspace / "weights").iterdir()}
    with file.open("w", encoding="utf-8") as text:
        yaml.dump(raw, text)


def _sent(file: Path, folder: Path) -> None:
    """Copy what one party sent into a folder of another, whose own it then is."""
    copy = shutil.copy(file, folder)
    os.chown(copy, _OWN, _OWN)


def _listing(root: Path) -> dict[str, tuple[int, int]]:
    """Return sizes and times of all files of a container's root."""
    found = {}
    for folder, _, files in os.walk(root):
        for path in (Path(folder) / file for file in files):
            status = path.lstat()
            found[path.relative_to(root).as_posix()] = (status.st_size, status.st_mtime_ns)
    return found


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Return what was changed; what buildah itself writes for a running container is not the program's."""
    own = {"etc/hosts", "etc/resolv.conf", "etc/hostname", "run/.containerenv", "run/secrets"}
    return sorted(
        place
        for place in before.keys() | after.keys()
        if before.get(place) != after.get(place) and place not in own
    )


def _open_files(place: Place) -> list[str]:
    """Return what of a party's own volumes others may read that should not, or belongs to another user."""
    wrong = []
    for where, folder in place.volumes.items():
        if where in place.read_only or where == "/tmp":  # noqa: S108 - the containers' own
            continue
        for path in [folder, *folder.rglob("*")]:
            status, told = path.lstat(), f"{place.name}{where}/{path.relative_to(folder)}"
            private = path.suffix in {".key", ".secret"} or path == folder
            if f"{where}/{path.relative_to(folder)}" in place.volumes:
                continue  # where another volume is mounted
            if status.st_uid != _OWN:
                wrong.append(f"{told} belongs to {status.st_uid}")
            elif private and status.st_mode & 0o077 and not path.is_symlink():
                wrong.append(f"{told} has mode {status.st_mode & 0o777:o}")
    return wrong
