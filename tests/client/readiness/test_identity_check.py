"""Whatever names, tables and copies a hospital has, its commands end with words and its site enrols or says why not."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from client.cli.program import app
from client.rounds.answer import answer
from client.site.site import Site
from shared.config.files import write_yaml
from tests.dicom_files import dicom_file

NAMES = (
    'with "quotes"', "with 'quotes'", "[brackets] (and) {braces}", "emoji-\U0001f600", "[bold]", "$(touch x)", "a,b;c",
    "tab\there", "%s %d {0}", "-dash", "new\nline", "u\u0308mlaut", "\u202eleft", "#remark",
)  # fmt: skip
BYTES = (b"latin-\xe9.png", b"\xff\xfe.png")


def films(root: Path, num_patients: int = 12) -> Path:
    """Draw films of two classes in class folders."""
    for number in range(num_patients):
        folder = root / ("normal", "opacity")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        grey = np.random.default_rng(number).integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(grey).save(folder / f"f{number}.png")
    return root


class Hospital:
    """A hospital of the tiny federation over a source of its own."""

    def __init__(self, federation: Any, folder: Path) -> None:
        self.federation, self.folder = federation, folder
        write_yaml(folder / "study.yaml", federation.study)

    def site(self, source: Path, **data: Any) -> Site:
        """Write site.yaml and open it."""
        rules = {"source": str(source), **data}
        site: Site = self.federation.site("film", self.folder / "state", data=rules, declared_patients=12)
        write_yaml(self.folder / "site.yaml", site.config)
        return site

    def run(self, command: str, *more: str) -> Result:
        """Run a command of `rounds-site`, which must not raise."""
        files = [str(self.folder / "site.yaml"), str(self.folder / "study.yaml")]
        done = CliRunner().invoke(app, [command, *files, *more])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done


@pytest.fixture
def hospital(tiny_federation: Any, tmp_path: Path) -> Hospital:
    """Return a hospital."""
    return Hospital(tiny_federation, tmp_path)


def test_a_hospital_of_plain_files_is_ready(hospital: Hospital, tmp_path: Path) -> None:
    """What the other tests change passes the check and says that nobody stands twice."""
    hospital.site(films(tmp_path / "films"))
    done = hospital.run("check")
    assert done.exit_code == 0, done.output
    assert "no file and no picture stands under two patients" in done.output


def test_any_name_of_a_file_is_a_name_or_a_problem(hospital: Hospital, tmp_path: Path) -> None:
    """Quotes, brackets, signs, emoji, line breaks and other bytes: check, refused, preview and enrolment go on."""
    root = films(tmp_path / "films")
    for number, name in enumerate(NAMES):
        grey = np.random.default_rng(100 + number).integers(0, 255, (32, 32), np.uint8)
        Image.fromarray(grey).save(root / "normal" / f"{name}.png")
    for name in map(os.fsdecode, BYTES):
        shutil.copyfile(root / "normal" / "f0.png", root / "normal" / name)
    site = hospital.site(root, max_unreadable=0.5)
    done = hospital.run("check")
    assert "record_text 3: " in done.output  # two of other bytes, one with a line break
    assert done.exit_code == 0, done.output
    assert hospital.run("refused").output.count("record_text") == 3
    assert hospital.run("preview", "--out", str(tmp_path / "page")).exit_code == 0
    assert len(site.patients(hospital.federation.study)) == 12 + len(NAMES) - 1
    assert "enrolment" in answer(site, hospital.federation.request("enrol", 0))


def _two_patients(root: Path) -> None:
    _table(root, *_rows(root), "normal/f0.png,normal,another")


def _copy(root: Path) -> None:
    shutil.copyfile(root / "normal" / "f0.png", root / "opacity" / "copy.png")


def _nobody(root: Path) -> None:
    _table(root, *_rows(root), "normal/f0.png,normal,NaN")


def _rounded(root: Path) -> None:
    _table(root, *_rows(root), "normal/f0.png,normal,1.2E+11")


def _rows(root: Path) -> list[str]:
    return [f"{one.relative_to(root)},{one.parent.name},{one.stem}" for one in sorted(root.rglob("f*.png"))]


def _table(root: Path, *rows: str) -> None:
    (root / "manifest.csv").write_text("\n".join(["file,label,patient_id", *rows]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_two_patients, "identity: record_shared 1: its image stands under more than one patient_id"),
        (
            _copy,
            "identity: 1 pictures stand under more than one patient, by content (1 of them under two labels",
        ),
        (_nobody, "identity: record_nobody 1: its patient_id is a word for a missing one"),
        (_rounded, "identity: record_rounded 1: its patient_id was rounded by a spreadsheet"),
    ],
)
def test_a_person_must_settle_who_is_who(
    hospital: Hospital, tmp_path: Path, change: Callable[[Path], None], sentence: str
) -> None:
    """The check fails, however small the share; nothing of it changes who else takes part."""
    root = films(tmp_path / "films")
    change(root)
    site = hospital.site(root, max_unreadable=0.5)
    done = hospital.run("check")
    assert done.exit_code == 1
    assert f"fail  {sentence}" in done.output
    assert {"f0", "f1"} <= {
        one.patient_id.rsplit("/", 1)[-1] for one in site.patients(hospital.federation.study)
    }


def test_copies_are_listed_and_shown(hospital: Hospital, tmp_path: Path) -> None:
    """`refused` lists both files, and the page counts them."""
    root = films(tmp_path / "films")
    _copy(root)
    hospital.site(root)
    lines = hospital.run("refused").output.splitlines()
    assert [line.rsplit("/", 1)[1] for line in lines if line.startswith("same_picture\t")] == [
        "f0.png",
        "copy.png",
    ]
    assert hospital.run("preview", "--out", str(tmp_path / "page")).exit_code == 0
    assert "same_picture" in (tmp_path / "page" / "preview.html").read_text()


def test_two_spellings_are_told(hospital: Hospital, tmp_path: Path) -> None:
    """One identifier in two spellings is a warning with a count and what it means."""
    root = films(tmp_path / "films")
    _table(root, *(row.replace("f0.png,normal,f0", "f0.png,normal,F001") for row in _rows(root)))
    hospital.site(root)
    done = hospital.run("check")
    assert "warn  identity: patient_alike 2: " in done.output
    assert "protected as two" in done.output


def test_what_was_not_read_is_counted_with_its_setting(hospital: Hospital, tmp_path: Path) -> None:
    """Other formats, rows without a label and system files, each with what takes it in."""
    root = films(tmp_path / "films")
    for name in ("a.webp", "b.webp", "c.dcm", "._f0.png"):
        (root / "normal" / name).touch()
    hospital.site(root)
    done = hospital.run("check")
    assert done.exit_code == 0, done.output
    assert "warn  images: other_format 3 (.webp 2, .dcm 1): " in done.output
    assert "images: system_file 1: " in done.output
    _table(root, *(row.replace("f11.png,opacity", "f11.png,") for row in _rows(root)))
    done = hospital.run("check")
    assert "label map: complete: 2 labels, 0 images left out by it" in done.output
    assert "warn  images: no_label 1: " in done.output


def test_a_dicom_file_of_any_name_can_be_looked_at(hospital: Hospital, tmp_path: Path) -> None:
    """The files of a patient are printed with bytes that are no UTF-8 escaped; all commands go on."""
    root = tmp_path / "dicom"
    for number, name in enumerate([b"f\xe9.dcm", b"[x].dcm"]):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32), np.uint8)
        file = dicom_file(tmp_path / "one.dcm", pixels, PatientID=f"P{number}", StudyDescription="clear")
        root.mkdir(exist_ok=True)
        file.rename(root / os.fsdecode(name))
    rules = {"label_tag": "StudyDescription", "label_rules": {"clear": "normal"}, "text": "allow"}
    site = hospital.site(root, dicom=rules)
    assert len(site.patients(hospital.federation.study)) == 2
    for command in (["check"], ["refused"], ["preview", "--out", str(tmp_path / "page")], ["preview", "--who", "1"],
                    ["preview", "--who", "2"]):  # fmt: skip
        done = hospital.run(*command)
        assert "Traceback" not in done.output
    assert answer(site, hospital.federation.request("enrol", 0))
