"""What a hospital is told about its DICOM files, and what it is not."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from client.cli.program import app
from client.rounds.answer import answer
from client.site.site import Site
from shared.config.files import write_yaml
from shared.data.image_problems import PROBLEMS
from tests.dicom_files import PLANTED, dicom_file, picture, with_text

RULES = {"label_tag": "StudyDescription", "label_rules": {"*opacity*": "opacity", "*clear*": "normal"}}


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Write 24 films of 12 patients under a folder, half of them with an opacity."""
    folder = tmp_path / "films"
    for number in range(24):
        text = f"Plantedname, {('clear', 'opacity')[number // 2 % 2]}"
        stored = picture(number, top=255).astype(np.uint8)
        tags = {"PatientID": f"PLANTED-{number // 2}", "StudyDescription": text}
        dicom_file(folder / f"{number}.dcm", stored, **tags)
    return folder


class Hospital:
    """A hospital of the tiny federation whose images are DICOM files."""

    def __init__(self, federation: Any, folder: Path) -> None:
        self.federation, self.folder = federation, folder
        write_yaml(folder / "study.yaml", federation.study)

    def site(self, films: Path, **changed: Any) -> Site:
        """Write site.yaml and open it."""
        data = {"source": str(films), "dicom": RULES | changed.pop("dicom", {}), **changed}
        site: Site = self.federation.site("film", self.folder / "state", data=data, declared_patients=12)
        write_yaml(self.folder / "site.yaml", site.config)
        return site

    def run(self, command: str) -> Result:
        """Run a command of `rounds-site`; nothing planted may be told, except paths where they are asked for."""
        done = CliRunner().invoke(
            app, [command, str(self.folder / "site.yaml"), str(self.folder / "study.yaml")]
        )
        assert not [value for value in PLANTED if value in done.output]
        return done


@pytest.fixture
def hospital(tiny_federation: Any, tmp_path: Path) -> Hospital:
    """Return a hospital."""
    return Hospital(tiny_federation, tmp_path)


def test_a_folder_of_dicom_passes_the_check_and_enrols(hospital: Hospital, films: Path) -> None:
    """Patients are counted by PatientID, the source is described, and the site enrols."""
    site = hospital.site(films)
    done = hospital.run("check")
    assert done.exit_code == 0, done.output
    assert re.search(r"12 patients \(\d+ train, .*\), 24 images", done.output)
    assert "patients are told apart by PatientID alone" in done.output
    assert "enrolment" in answer(site, hospital.federation.request("enrol", 0))


def test_problems_are_counted_by_kind_and_each_says_what_to_do(hospital: Hospital, films: Path) -> None:
    """Each kind has a line with its count and its remedy; past max_unreadable neither check nor enrolment passes."""
    pixels = picture(top=255).astype(np.uint8)
    dicom_file(films / "x1.dcm", pixels, PatientID=None)
    dicom_file(films / "x2.dcm", pixels, BurnedInAnnotation="YES", StudyDescription="clear")
    dicom_file(films / "x3.dcm", pixels, PhotometricInterpretation="PALETTE COLOR", StudyDescription="clear")
    dicom_file(films / "x4.dcm", pixels, StudyDescription="Plantedname, see letter")
    (films / "x5.dcm").write_bytes(b"no DICOM")
    site = hospital.site(films, max_unreadable=0.1)
    done = hospital.run("check")
    assert done.exit_code == 1
    for kind in ("image_no_patient", "image_burned_in", "image_not_grey", "no_label", "image_unreadable"):
        wrong, remedy = PROBLEMS[kind]
        assert f"images: {kind} 1: {wrong}; {remedy}" in done.output
    assert (
        "14.3% of images cannot be used" in done.output
    )  # 4 of 24 + 4; a film without a label is none of them
    assert "enrolment" not in answer(site, hospital.federation.request("enrol", 0))
    site = hospital.site(films, max_unreadable=0.15)
    assert hospital.run("check").exit_code == 0
    assert "enrolment" in answer(site, hospital.federation.request("enrol", 0))


def test_refused_pictures_are_listed_for_a_person_and_pass_once_reviewed(
    hospital: Hospital, films: Path
) -> None:
    """`rounds-site refused` prints kind and path; that list under data.dicom.reviewed lets the picture through."""
    printed = with_text(picture(height=256, width=256, top=120).astype(np.uint8), "PORTABLE 12:30", 11)
    dicom_file(films / "x.dcm", printed, StudyDescription="clear")
    dicom_file(films / "y.dcm", printed, PatientID=None)
    hospital.site(films, max_unreadable=0.5)
    listed = hospital.run("refused")
    expected = [("image_no_patient", "y.dcm"), ("image_text", "x.dcm")]
    assert listed.stdout.splitlines() == [f"{kind}\t{(films / name).resolve()}" for kind, name in expected]
    (films / "y.dcm").unlink()
    (hospital.folder / "looked-at.txt").write_text(listed.stdout, encoding="utf-8")
    hospital.site(films, dicom={"reviewed": str(hospital.folder / "looked-at.txt")})
    assert hospital.run("refused").stdout == ""
    assert "every image and mask can be read" in hospital.run("check").output
