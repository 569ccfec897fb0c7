"""Ways to read a folder, best first."""

import os
from pathlib import Path

import pytest

from client.setup.proposals.contents import look_into
from client.setup.proposals.sources import Way, tables_in, ways_to_read
from client.setup.proposals.tables import look_at_table
from shared.errors import DataError
from tests.dicom_files import dicom_file, picture

PACK = Path(os.environ.get("ROUNDS_DATA", Path(__file__).resolve().parents[5] / "shared" / "data"))


def ways(source: Path, classes: tuple[str, ...] = (), labels: Path | None = None) -> list[Way]:
    """Return the ways to read a source."""
    contents = look_into(source)
    tables, _ = tables_in(contents, classes)
    return ways_to_read(contents, tables, None if labels is None else look_at_table(labels))


def films(folder: Path, *files: str) -> Path:
    """Make files whose pictures nobody looks at."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(b"")
    return folder


def test_class_folders_with_splits(tmp_path: Path) -> None:
    """Labels are counted, splits named, and it is said that nothing tells patients apart."""
    (way,) = ways(films(tmp_path, "train/normal/a.png", "train/opacity/b.png", "test/normal/c.png"))
    assert (way.kind, dict(way.labels), way.names_patients) == ("folders", {"normal": 2, "opacity": 1}, False)
    assert "folders above them are called test, train, so the division is theirs" in way.reasons
    assert "no patients.csv says whose they are" in way.reasons


def test_a_table_that_names_patients_stands_before_folders(tmp_path: Path) -> None:
    """Both are possible; what protects people rather than pictures is proposed first."""
    films(tmp_path, "normal/a.png", "normal/b.png", "opacity/c.png", "opacity/d.png")
    rows = "".join(
        f"{one},{n // 2},P{n // 2}\n"
        for n, one in enumerate(("normal/a.png", "normal/b.png", "opacity/c.png", "opacity/d.png"))
    )
    (tmp_path / "list.csv").write_text("picture,finding,subject\n" + rows)
    assert [one.kind for one in ways(tmp_path)] == ["table", "folders"]
    assert ways(tmp_path)[0].source == tmp_path / "list.csv"


def test_folders_beside_a_manifest_are_not_read(tmp_path: Path) -> None:
    """The reader takes manifest.csv, so class folders would be a promise that is not kept."""
    films(tmp_path, "normal/a.png", "opacity/b.png")
    (tmp_path / "manifest.csv").write_text("file,label\nnormal/a.png,normal\nopacity/b.png,opacity\n")
    table, folders = ways(tmp_path, ("normal", "opacity"))
    assert (table.kind, table.refused) == ("table", "")
    assert folders.refused == "manifest.csv beside the folders is read in their place; move it away first"


def test_a_folder_for_each_patient_is_no_class(tmp_path: Path) -> None:
    """More folders than a study has classes are taken for people, and it is said what to do."""
    (way,) = ways(films(tmp_path, *(f"P{number}/film.png" for number in range(41))))
    assert way.refused.startswith("41 folders are too many for classes, and may be patients")


def test_dicom_labels_come_from_a_table_or_a_tag(tmp_path: Path) -> None:
    """The table is known by its keys, whatever its columns are called; named by a person it may lie elsewhere."""
    (tmp_path / "dicom").mkdir()
    for number in range(4):
        tags = {
            "AccessionNumber": f"A{number}",
            "PatientID": f"P{number}",
            "StudyDescription": f"kind {number % 2}",
        }
        dicom_file(tmp_path / "dicom" / f"{number}.dcm", picture(number), **tags)
    (way,) = ways(tmp_path / "dicom")
    assert (way.kind, way.names_patients) == ("dicom-tag", True)
    (tmp_path / "ris.csv").write_text("Untersuchung;Befund\n" + "".join(f"A{n};b{n % 2}\n" for n in range(4)))
    first, second = ways(tmp_path / "dicom", labels=tmp_path / "ris.csv")
    assert (first.kind, first.key, second.kind) == ("dicom-table", "accession_number", "dicom-tag")
    assert first.table is not None
    assert (first.table.files, first.table.labels) == (("Untersuchung",), ("Befund",))


def test_an_npz_is_refused_with_the_readers_own_sentence(tmp_path: Path) -> None:
    """A raw MedMNIST file has no patients, and a hospital may not take it."""
    (way,) = ways(films(tmp_path, "pneumoniamnist.npz"))
    assert (way.kind, "so that no privacy claim would hold" in way.refused) == ("npz", True)


def test_a_table_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """In a folder it is told and passed over; where it is the source itself it is the error."""
    films(tmp_path, "normal/a.png")
    (tmp_path / "t.csv").write_bytes("file,label\n".encode("utf-16"))
    _, unread = tables_in(look_into(tmp_path))
    assert len(unread) == 1
    assert "is UTF-16, needed is UTF-8; save it as 'CSV UTF-8'" in unread[0]
    with pytest.raises(DataError, match="UTF-16"):
        tables_in(look_into(tmp_path / "t.csv"))


@pytest.mark.real
@pytest.mark.parametrize(
    ("folder", "kind", "labels", "patients"),
    [
        ("cxr", "table", "label", "patient_id"),
        ("cxr/manifest.csv", "table", "label", "patient_id"),
        ("fundus", "table", "label", "patient_id"),
        ("dicom", "table", "label", "patient_id"),
        ("cxr/nih_cc_pa", "folders", {"normal": 53, "pneumonia": 53}, ""),
        ("fundus/idrid_2009", "folders", {"dr_mild_moderate": 38, "dr_severe_pdr": 22, "no_dr": 47}, ""),
    ],
)
def test_real_packs_are_read_as_they_are(folder: str, kind: str, labels: object, patients: str) -> None:
    """The first proposal for each real pack is the right one, with the right columns."""
    if not (PACK / folder).exists():
        pytest.skip("the real image pack is not here")
    first = ways(PACK / folder)[0]
    assert (first.kind, first.refused) == (kind, "")
    if first.table is not None:
        assert (first.table.labels[0], first.table.patients[0]) == (labels, patients)
    else:
        assert dict(first.labels) == labels
