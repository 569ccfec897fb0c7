"""The two lists of deploy/README.md, typed at terminals: from nothing to a student that a person accepted.

One hospital has class folders, the other DICOM.
"""

import subprocess
from collections.abc import Iterator

import psutil
import pytest
import yaml

from tests.needs import BROWSER, NGINX
from tests.system.deployed import free_port
from tests.system.journey import CLUMSY, FOLDERS, STUDY, Journey, public_films
from tests.system.person import Person

pytestmark = [NGINX, BROWSER]


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory, running: list[subprocess.Popen[bytes]]) -> Journey:
    """Give everybody a folder, with what they have before they begin; open the hub and offer the study."""
    port, folder = free_port(), tmp_path_factory.mktemp("journey")
    office = Person(folder / "office", "At the hub, in ten commands", {
        "hub.example.org:8443": f"localhost:{port}", "hub.example.org": "localhost",
        "0.0.0.0:8443": f"127.0.0.1:{port}", "/backup/": "", "DATA=folder": "DATA=public",
    })  # fmt: skip
    hospitals = {
        site: Person(folder / site, "At a hospital, in eight commands", {"north": site, "/backup/": ""})
        for site in FOLDERS | CLUMSY
    }
    for person in (office, *hospitals.values()):
        person.folder.mkdir()
    for site, make in (FOLDERS | CLUMSY).items():
        make(hospitals[site].folder / "images")
    public_films(office.folder / "public")
    (office.folder / "study.yaml").write_text(yaml.safe_dump(STUDY), encoding="utf-8")
    begun = Journey(office, hospitals, running)
    begun.open_hub()
    begun.offer()
    return begun


@pytest.mark.timeout(1500)
def test_the_documents_typed_as_they_stand(journey: Journey) -> None:
    """The steps at the hub and at each hospital bring a study to an accepted student; no command fails."""
    for site in FOLDERS:
        journey.join(site)
    for site in FOLDERS:
        journey.take(site)
    journey.study()
    journey.decide()


@pytest.mark.timeout(900)
def test_mistakes_are_told_where_they_are_made(journey: Journey) -> None:
    """Wrong words, an order that is not the documents', no yes, a small cap, an altered parcel: one sentence each."""
    for site in CLUMSY:
        journey.mistakes(site)
