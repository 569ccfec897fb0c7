"""DICOM headers: which tags may hold a label, and how patients are told apart."""

from pathlib import Path

import pytest

from client.setup.proposals.headers import look_at_headers
from tests.dicom_files import PLANTED, dicom_file, picture


@pytest.fixture
def tree(tmp_path: Path) -> list[Path]:
    """Return six films of three people, two of whom have a pneumonia by their study's description."""
    files = []
    for number in range(6):
        kind = ("Thorax normal", "Thorax Pneumonie")[number % 2]
        tags = {
            "PatientID": f"P{number // 2}",
            "StudyDescription": kind,
            "BodyPartExamined": ("CHEST", "THORAX")[number % 2],
            "Modality": "CR",
            "AccessionNumber": str(number),
            "InstitutionName": ("Planted General", "Planted Special")[number % 2],
        }
        files.append(dicom_file(tmp_path / f"{number}.dcm", picture(number), **tags))
    return files


def test_a_tag_of_few_values_may_be_a_label(tree: list[Path]) -> None:
    """How a picture was taken, whom it shows and where it was made is no label, however few values there are."""
    found = look_at_headers(tree)
    assert {name: dict(values) for name, values in found.tags.items()} == {
        "StudyDescription": {"Thorax normal": 3, "Thorax Pneumonie": 3}
    }
    assert found.passed_by == ("BodyPartExamined",)


def test_patients_are_those_of_patient_id(tree: list[Path]) -> None:
    """Files that name nobody are counted; a damaged one is, and stops nothing."""
    dicom_file(tree[0], picture(), PatientID="NaN")
    tree[1].write_bytes(b"no DICOM at all")
    found = look_at_headers(tree)
    assert (found.num_files, found.num_pictures, found.num_patients) == (6, 5, 2)
    assert (found.num_nobody, found.num_unreadable) == (1, 1)


def test_no_value_of_a_persons_tag_is_kept(tree: list[Path]) -> None:
    """Names, dates, addresses and numbers of people stay in the files; keys are kept to be compared with a table."""
    found = look_at_headers(tree)
    shown = f"{found.tags} {found.passed_by}"
    assert not [value for value in PLANTED if value in shown]
    assert found.keys["accession_number"] == {"0", "1", "2", "3", "4", "5"}
    assert len(found.keys["sop_instance_uid"]) == 6


def test_free_text_is_no_label(tmp_path: Path) -> None:
    """A value of its own for each picture, or one longer than a label, makes no proposal."""
    files = [
        dicom_file(
            tmp_path / f"{n}.dcm",
            picture(n),
            StudyDescription=f"seen on day {n}",
            ImageComments="x" * 65 + str(n % 2),
        )
        for n in range(4)
    ]
    assert not look_at_headers(files).tags
