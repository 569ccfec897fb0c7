"""Rules of labelling DICOM images: by a hospital's table, or by a tag."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from shared.config.site_data import DicomData
from shared.config.study import Task
from shared.data.patients import Patient
from shared.data.sources import read_source
from shared.errors import DataError
from tests.dicom_files import dicom_file, picture
from tests.site_problems import source_problems

TASK = Task(classes=("normal", "pneumonia"), image_size=32)
BY_TAG = DicomData(
    label_tag="StudyDescription", label_rules={"*pneumonia*": "pneumonia", "*clear*": "normal"}
)


def film(path: Path, **tags: Any) -> Path:
    """Write one small film."""
    return dicom_file(path, picture(len(path.stem), top=255).astype(np.uint8), **tags)


def table(
    path: Path, rows: Sequence[tuple[str, str]], key: str = "sop_instance_uid", separator: str = ","
) -> Path:
    """Write a table of labels."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([(key, "label"), *rows])
    return path


def uid_of(path: Path) -> str:
    """Return the SOPInstanceUID."""
    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


def read(source: Path, rules: DicomData = BY_TAG, **more: Any) -> list[Patient]:
    """Read DICOM files."""
    return read_source(source, TASK, dicom=rules, **more)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("key", ["sop_instance_uid", "SOPInstanceUID"])
def test_labels_come_from_a_table_by_uid(tmp_path: Path, key: str, separator: str) -> None:
    """A label is found by SOPInstanceUID, renamed by label_map, and a file without a row is left out and counted."""
    paths = [film(tmp_path / f"{name}.dcm", PatientID=name) for name in ("a", "b", "c")]
    table(tmp_path / "labels.csv", [(uid_of(paths[0]), "PNEU"), (uid_of(paths[1]), "normal")], key, separator)
    rules = DicomData(labels=Path("labels.csv"))
    found = read(tmp_path, rules, label_map={"PNEU": "pneumonia"})
    assert {p.images[0].file.name: p.label for p in found} == {"a.dcm": 1, "b.dcm": 0}
    assert source_problems(tmp_path, rules) == {"no_label": 1}


def test_labels_come_from_a_table_by_accession_number(tmp_path: Path) -> None:
    """One row by accession number labels all images of the examination."""
    for name in ("a", "b"):
        film(tmp_path / f"{name}.dcm")
    labels = table(tmp_path / "elsewhere.csv", [("ACCPLANTED9", "pneumonia")], "accession_number")
    rules = DicomData(labels=labels, label_key="accession_number")
    (patient,) = read(tmp_path, rules)
    assert [record.label for record in patient.images] == [1, 1]


def test_labels_come_from_a_tag_by_the_first_rule_that_fits(tmp_path: Path) -> None:
    """Rules are tried in their order, case does not matter, and what fits none is left out and never shown."""
    for number, text in enumerate(("PNEUMONIA, else clear", "lungs CLEAR", "Plantedname, see letter", None)):
        film(tmp_path / f"{number}.dcm", PatientID=str(number), StudyDescription=text)
    found = {p.images[0].file.name: p.label for p in read(tmp_path)}
    assert found == {"0.dcm": 1, "1.dcm": 0}
    assert source_problems(tmp_path, BY_TAG) == {"no_label": 2}


def test_a_tag_can_be_named_by_its_number(tmp_path: Path) -> None:
    """0008,1030 is StudyDescription."""
    film(tmp_path / "a.dcm")
    rules = DicomData(label_tag="(0008,1030)", label_rules={"*": "pneumonia"})
    assert [p.label for p in read(tmp_path, rules)] == [1]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("uid,label\n1,normal\n", "no column sop_instance_uid, needed are sop_instance_uid and label"),
        (
            "sop_instance_uid,label\n4711,normal\n4711,pneumonia\n",
            "of line 3 another label than an earlier line",
        ),
        ("", "no column sop_instance_uid and label"),
        (None, "cannot be read: there is no such file"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path: Path, text: str | None, sentence: str) -> None:
    """A mistake in the table is one sentence with the line, and never the key."""
    film(tmp_path / "a.dcm")
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=sentence) as caught:
        read(tmp_path, DicomData(labels=Path("labels.csv")))
    assert "4711" not in str(caught.value).replace(str(tmp_path), "")
