"""A hospital's own names: columns of its tables, and patients by the names of files."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from shared.config.naming import Naming
from shared.config.site_data import DicomData, SiteData
from shared.config.study import Task
from shared.data.hospital import HospitalPatients, read_hospital
from shared.data.sources import describe_source
from shared.errors import DataError
from tests.dicom_files import dicom_file, picture

TASK = Task(classes=("normal", "pneumonia"), image_size=32)
PATTERN = "(person[0-9]+)_"
OWN = {"file": "Image", "label": "Finding", "patient_id": "Subject ID"}


def read(source: Path, **data: Any) -> HospitalPatients:
    """Read a hospital's source by these fields of `data`."""
    return read_hospital(SiteData.model_validate({"source": source} | data), TASK)


def seen(found: HospitalPatients) -> dict[str, list[str]]:
    """Return the names of each patient's files."""
    return {one.patient_id: [image.file.name for image in one.images] for one in found.patients}


def tree(folder: Path, *files: str) -> Path:
    """Make empty files: no reader of records opens a picture."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"")
    return folder


def test_a_table_is_read_by_its_own_columns(tmp_path: Path) -> None:
    """Columns that data.columns names are ours, spelt anyhow; a column that has our name is then another."""
    table = tmp_path / "ours.csv"
    table.write_text("image;FINDING;subject_id;label\na.png;normal;anna;x\nb.png;pneumonia;anna;y\n")
    found = read(table, columns=OWN)
    assert seen(found) == {"anna": ["a.png", "b.png"]}
    assert sorted(found.labels) == ["normal", "pneumonia"]


def test_a_column_that_is_named_and_missing_is_told_by_both_names(tmp_path: Path) -> None:
    """The sentence has the hospital's word, ours, and what the table holds instead."""
    (tmp_path / "m.csv").write_text("file,label\na.png,normal\n")
    said = r"has no column Finding \(for label\), needed are file and Finding \(for label\); found are 'file'"
    with pytest.raises(DataError, match=said):
        read(tmp_path / "m.csv", columns={"label": "Finding"})


def test_patients_csv_and_label_tables_have_own_columns_too(tmp_path: Path) -> None:
    """One field serves the grouping of class folders, and data.dicom.columns the labels of DICOM files."""
    tree(tmp_path / "films", "normal/a.png", "normal/b.png")
    (tmp_path / "films" / "patients.csv").write_text("image,who\nnormal/a.png,anna\nnormal/b.png,anna\n")
    found = read(tmp_path / "films", columns={"file": "image", "patient_id": "who"})
    assert seen(found) == {"anna": ["a.png", "b.png"]}
    dicom_file(tmp_path / "dicom" / "one.dcm", picture(), AccessionNumber="7", PatientID="P1")
    (tmp_path / "labels.csv").write_text("Accession,Diagnosis\n7,pneumonia\n")
    rules = {"labels": str(tmp_path / "labels.csv"), "label_key": "accession_number"}
    rules |= {"columns": {"accession_number": "Accession", "label": "Diagnosis"}}
    assert [one.label for one in read(tmp_path / "dicom", dicom=rules).patients] == [1]


def test_a_pattern_names_patients_of_class_folders(tmp_path: Path) -> None:
    """Groups are joined; a picture whose path does not fit is nobody's, counted, and costs nobody else."""
    tree(tmp_path, "normal/person1_a.png", "normal/person1_b.png", "pneumonia/person1_c.png", "normal/x.png")
    both = read(tmp_path, patient_pattern=PATTERN)
    assert seen(both) == {"person1": ["person1_a.png", "person1_b.png", "person1_c.png"]}
    assert both.problems == {"record_no_patient": 1}
    apart = read(tmp_path, patient_pattern=f"^([a-z]+)/{PATTERN}")
    assert list(seen(apart)) == ["normal/person1", "pneumonia/person1"]
    (note,) = describe_source(tmp_path, TASK, None, Naming({}, PATTERN))
    assert note.startswith("Patients are told apart by data.patient_pattern")


def test_a_pattern_names_patients_of_a_table_without_a_column_for_them(tmp_path: Path) -> None:
    """It is the file's cell that is looked at; a word for nobody is no patient."""
    (tmp_path / "m.csv").write_text(
        "file,label\np/person7_1.png,normal\np/person7_2.png,normal\nx.png,normal\n"
    )
    found = read(tmp_path / "m.csv", patient_pattern=PATTERN)
    assert seen(found) == {"person7": ["person7_1.png", "person7_2.png"]}
    assert found.problems == {"record_no_patient": 1}


@pytest.mark.parametrize("table", ["patients.csv", "manifest.csv"])
def test_patients_are_named_in_one_way(tmp_path: Path, table: str) -> None:
    """A pattern beside a column of patients is refused, since one of them would be ignored."""
    tree(tmp_path, "normal/person1_a.png")
    (tmp_path / table).write_text("file,label,patient_id\nnormal/person1_a.png,normal,anna\n")
    with pytest.raises(
        DataError, match=r"data\.patient_pattern is given, and .*; remove data\.patient_pattern"
    ):
        read(tmp_path, patient_pattern=PATTERN)


@given(some.lists(some.sampled_from(["person1_a", "person1_b", "person2_a", "other"]), unique=True))
def test_whose_a_file_is_depends_on_its_own_name(names: list[str]) -> None:
    """One file more or less changes nobody else's patient."""
    naming = Naming({}, PATTERN)
    alone = {name: naming.patient_of(f"normal/{name}.png") for name in names}
    assert alone == {name: name.split("_")[0] if "_" in name else "" for name in names}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"patient_pattern": "person[0-9]+"}, "needed is a group in brackets that holds the patient"),
        ({"patient_pattern": "(person"}, "no regular expression"),
        ({"columns": {"picture": "x"}}, "columns of data name 'picture', allowed are file, label"),
        ({"columns": {"file": " "}}, "columns of data give file no name"),
        ({"columns": {"file": "x", "label": "x"}}, "give two columns one name"),
        ({"columns": {"file": "x"}, "dicom": {"labels": "l.csv"}}, "columns is for tables and class folders"),
    ],
)
def test_names_that_cannot_be_are_refused(data: dict[str, Any], sentence: str) -> None:
    """Each mistake is told with the field and what to do."""
    with pytest.raises(ValueError, match=sentence):
        SiteData.model_validate({"source": "films"} | data)


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        ({"labels": "l.csv", "columns": {"accession_number": "A"}}, "allowed are label, sop_instance_uid"),
        (
            {"label_tag": "StudyDescription", "label_rules": {"*": "a"}, "columns": {"label": "A"}},
            "columns are given without labels",
        ),
    ],
)
def test_columns_of_a_label_table_are_its_own(rules: dict[str, Any], sentence: str) -> None:
    """Only the key that is used and the label can be named, and only where there is a table."""
    with pytest.raises(ValueError, match=sentence):
        DicomData.model_validate(rules)
