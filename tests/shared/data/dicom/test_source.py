"""Rules of reading a hospital's DICOM files: which count, whose they are, and where labels come from."""

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.config.site_data import DicomData
from shared.config.study import Task
from shared.data.dicom.source import safe_patient
from shared.data.hospital import sorted_out
from shared.data.images import check_images, refused_images
from shared.data.patients import Patient
from shared.data.sources import describe_source, read_records, read_source
from shared.data.tables.manifest import write_manifest
from shared.data.views import patient_views
from shared.errors import DataError
from tests.dicom_files import PLANTED, dicom_file, picture, with_text
from tests.site_problems import source_problems

TASK = Task(classes=("normal", "pneumonia"), image_size=32)
BY_TAG = DicomData(
    label_tag="StudyDescription", label_rules={"*pneumonia*": "pneumonia", "*clear*": "normal"}
)


def film(path: Path, **tags: Any) -> Path:
    """Write one small film."""
    return dicom_file(path, picture(len(path.stem), top=255).astype(np.uint8), **tags)


def read(source: Path, rules: DicomData = BY_TAG, **more: Any) -> list[Patient]:
    """Read DICOM files."""
    return read_source(source, TASK, dicom=rules, **more)


def test_a_folder_is_read_with_everything_below_it(tmp_path: Path) -> None:
    """Files of any name that begin as DICOM are found at any depth; other and hidden files are passed over."""
    film(tmp_path / "a.dcm", PatientID="1")
    film(tmp_path / "2024" / "CT" / "1.2.840.7", PatientID="2")
    film(tmp_path / ".trash" / "b.dcm", PatientID="3")
    (tmp_path / "notes.txt").write_text("to do")
    (tmp_path / ".DS_Store").write_text("x")
    assert [p.images[0].file.name for p in sorted(read(tmp_path), key=lambda p: p.images[0].file.name)] == [
        "1.2.840.7",
        "a.dcm",
    ]
    assert source_problems(tmp_path, BY_TAG) == {"system_file": 2, "not_dicom": 1}


@pytest.mark.parametrize(("name", "first"), [("list.txt", "# two of three"), ("list.csv", "file")])
def test_a_list_is_read_in_place_of_a_folder(tmp_path: Path, name: str, first: str) -> None:
    """A text file with a path a line, or a CSV with the column file, names the files that count."""
    for stem in ("a", "b", "c"):
        film(tmp_path / "films" / f"{stem}.dcm", PatientID=stem)
    (tmp_path / name).write_text(f"{first}\nfilms/a.dcm\nfilms/c.dcm\n")
    found = {p.images[0].file.name for p in read(tmp_path / name)}
    assert found == {"a.dcm", "c.dcm"}


def test_images_of_one_patientid_are_one_patient_under_a_digest(tmp_path: Path) -> None:
    """Two studies of one PatientID are one patient, whose identifier in memory is no longer the PatientID."""
    for name in ("a", "b"):
        film(tmp_path / f"{name}.dcm", StudyDate=f"2020010{len(name)}")
    film(tmp_path / "c.dcm", PatientID="another")
    patients = read(tmp_path, site="here")
    assert sorted(len(p.images) for p in patients) == [1, 2]
    assert {p.site for p in patients} == {"here"}
    assert {p.patient_id for p in patients} == {safe_patient("PLANTED-4711"), safe_patient("another")}
    assert not [value for value in PLANTED if value in repr(patients).replace(str(tmp_path), "")]


def test_keep_leaves_out_what_does_not_fit(tmp_path: Path) -> None:
    """Only films whose tags fit a pattern each are kept; an absent tag does not fit."""
    for name, view in (("a", "PA"), ("b", "LATERAL"), ("c", "AP"), ("d", None)):
        film(tmp_path / f"{name}.dcm", PatientID=name, ViewPosition=view)
    rules = BY_TAG.model_copy(update={"keep": {"ViewPosition": ("PA", "AP"), "Modality": ("CR", "DX")}})
    assert {p.images[0].file.name for p in read(tmp_path, rules)} == {"a.dcm", "c.dcm"}
    assert source_problems(tmp_path, rules) == {"not_kept": 2}


def test_files_that_cannot_count_are_counted_by_kind(tmp_path: Path) -> None:
    """Damaged, missing, patientless and repeated files and reports have a word each; the rest is read."""
    good = film(tmp_path / "a.dcm")
    (tmp_path / "z.dcm").write_bytes(good.read_bytes())
    (tmp_path / "bad.dcm").write_bytes(b"no DICOM")
    film(tmp_path / "nobody.dcm", PatientID=" ")
    film(tmp_path / "report.dcm", Rows=None, Columns=None, PixelData=None)
    expected = {"image_no_patient": 1, "image_unreadable": 1, "no_picture": 1, "repeated": 1}
    assert source_problems(tmp_path, BY_TAG) == expected
    assert [len(p.images) for p in read(tmp_path)] == [1]
    (tmp_path / "list.txt").write_text("a.dcm\nnone.dcm\n")
    assert source_problems(tmp_path / "list.txt", BY_TAG) == {"image_missing": 1}
    unusable = check_images(read(tmp_path), TASK).with_left_out(expected)
    assert (unusable.num_images, unusable.num_unreadable) == (3, 2)


def test_an_image_under_two_patients_counts_for_both(tmp_path: Path) -> None:
    """Whether an image repeats is asked within one patient: another patient's files never take one away."""
    for name in ("a", "b"):
        film(tmp_path / f"{name}.dcm", PatientID=name, SOPInstanceUID="1.2.3")
    found = sorted_out(read_records(tmp_path, TASK, BY_TAG), TASK, tmp_path)
    assert (len(found.patients), found.problems) == (2, {"record_shared": 1})
    with pytest.raises(DataError, match="more than one patient_id for 1 files"):
        read(tmp_path)


def test_removing_a_patient_changes_no_other(tmp_path: Path) -> None:
    """With one patient's files gone all others keep identifier, label and views, bit for bit."""
    for number in range(6):
        film(tmp_path / f"{number}.dcm", PatientID=str(number // 2))
    before = {p.patient_id: (p, patient_views(p, TASK, 2)[0].tobytes()) for p in read(tmp_path)}
    gone = safe_patient("1")
    for record in before[gone][0].images:
        record.file.unlink()
    after = {p.patient_id: (p, patient_views(p, TASK, 2)[0].tobytes()) for p in read(tmp_path)}
    assert after == {name: found for name, found in before.items() if name != gone}


def test_pictures_a_person_has_looked_at_are_let_through(tmp_path: Path) -> None:
    """A list as `rounds-site refused` prints it lets flagged and suspected pictures through, and no others."""
    printed = with_text(picture(height=256, width=256, top=120).astype(np.uint8), "PORTABLE 12:30", 11)
    for name in ("a", "b"):
        dicom_file(tmp_path / "films" / f"{name}.dcm", printed, PatientID=name)
    film(tmp_path / "films" / "c.dcm", PatientID="c", BurnedInAnnotation="YES")
    folder = tmp_path / "films"
    refused = list(refused_images(read(folder), TASK))
    assert sorted((kind, file.name) for kind, file in refused) == [
        ("image_burned_in", "c.dcm"), ("image_text", "a.dcm"), ("image_text", "b.dcm"),
    ]  # fmt: skip
    lines = [f"{kind}\t{file}" for kind, file in refused if file.name != "b.dcm"]
    lines.append(f"same_picture\t{folder / 'b.dcm'}")  # stands there for another reason than its text
    (tmp_path / "looked-at.txt").write_text("\n".join(lines), encoding="utf-8")
    rules = BY_TAG.model_copy(update={"reviewed": tmp_path / "looked-at.txt"})
    assert [(kind, file.name) for kind, file in refused_images(read(folder, rules), TASK)] == [
        ("image_text", "b.dcm")
    ]


@pytest.mark.parametrize(("rule", "left"), [("refuse", 2), ("refuse_flagged", 1), ("allow", 0)])
def test_the_text_rule_of_a_site_reaches_its_pictures(tmp_path: Path, rule: Any, left: int) -> None:
    """Refuse both, refuse flagged ones only, or allow all; a written manifest keeps the rule."""
    printed = with_text(picture(height=256, width=256, top=120).astype(np.uint8), "PORTABLE 12:30", 11)
    dicom_file(tmp_path / "a.dcm", printed, PatientID="a")
    film(tmp_path / "b.dcm", PatientID="b", BurnedInAnnotation="YES")
    patients = read(tmp_path, BY_TAG.model_copy(update={"text": rule}), site="here")
    assert len(list(refused_images(patients, TASK))) == left
    write_manifest(patients, tmp_path / "m.csv", TASK)
    assert read_source(tmp_path / "m.csv", TASK) == patients


@pytest.mark.parametrize(
    ("name", "rules", "sentence"),
    [
        ("list.csv", BY_TAG, "no column file"),
        ("none.txt", BY_TAG, "with data.dicom a folder or list"),
        ("list.txt", BY_TAG.model_copy(update={"reviewed": Path("none.txt")}), "reviewed .* cannot be read"),
        ("", None, r"DICOM files need data\.dicom"),
    ],
)
def test_a_wrong_source_is_refused(tmp_path: Path, name: str, rules: DicomData | None, sentence: str) -> None:
    """A list without its column, a missing source or review, and DICOM without rules say what to do."""
    film(tmp_path / "a.dcm")
    for file in ("list.csv", "list.txt"):
        (tmp_path / file).write_text("a.dcm\n")
    with pytest.raises(DataError, match=sentence):
        read_source(tmp_path / name, TASK, dicom=rules)


def test_reports_are_told_what_was_let_through(tmp_path: Path) -> None:
    """The notes say how labels and patients came about, and whether text was let through; no name, no number."""
    assert describe_source(tmp_path, TASK, BY_TAG) == (
        "DICOM files: patients are told apart by PatientID alone, labels come by rules from a tag.",
    )
    for rules in ({"text": "allow"}, {"text": "refuse_flagged"}, {"reviewed": Path("x")}):
        assert "let through" in describe_source(tmp_path, TASK, BY_TAG.model_copy(update=rules))[-1]


def test_odd_headers_are_read_without_a_word(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Values against the standard, which pydicom warns of and quotes, are read silently."""
    path = film(tmp_path / "a.dcm", PatientID="PLANTED-4711")
    path.write_bytes(path.read_bytes().replace(b"ACCPLANTED9", b"ACCPLANTED\xff").replace(b"1.2.", b"x.y."))
    caplog.set_level(logging.DEBUG)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        read(tmp_path)
    told = caplog.text + "".join(capfd.readouterr()) + "".join(str(one.message) for one in warned)
    assert not [value for value in PLANTED if value in told]
    assert warned == []
