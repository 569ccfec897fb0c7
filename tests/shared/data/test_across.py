"""What no row shows by itself: told at a hospital without a change for anybody, refused by a strict reading."""

from pathlib import Path

import pytest

from shared.config.site_data import SiteData
from shared.config.study import Task
from shared.data.hospital import HospitalPatients, read_hospital
from shared.data.sources import read_source
from shared.data.tables.identifiers import is_rounded, names_nobody, plain_identifier
from shared.errors import DataError

TASK = Task(classes=("normal", "opacity"), image_size=32)
HEAD = "file,label,patient_id,split,index"
GOOD = "a.png,normal,P1,train,", "b.png,opacity,P2,test,"


def manifest(folder: Path, *rows: str, head: str = HEAD) -> Path:
    """Write a manifest of two good rows and others."""
    path = folder / "m.csv"
    path.write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
    return path


def hospital(path: Path) -> HospitalPatients:
    """Read as a hospital does."""
    return read_hospital(SiteData(source=path), TASK)


@pytest.mark.parametrize(
    ("row", "kind", "sentence"),
    [
        ("a.png,normal,P3,train,", "record_shared", "more than one patient_id for 1 files"),
        ("./x/../a.png,opacity,P3,train,", "record_shared", "more than one patient_id for 1 files"),
        ("c.png,normal,p1,train,", "patient_alike", "spelt in more than one way for 2 identifiers"),
        ("c.png,normal,P001,train,", "patient_alike", "spelt in more than one way for 2 identifiers"),
        ("c.png,normal,\uff30 1,train,", "patient_alike", "spelt in more than one way for 2 identifiers"),
        ("c.png,normal,P3,,", "unsplit", None),
    ],
)
def test_what_stands_between_two_patients(tmp_path: Path, row: str, kind: str, sentence: str | None) -> None:
    """Both patients keep what they have and it is counted; the strict reading refuses with a count, or tells."""
    before = hospital(manifest(tmp_path, *GOOD)).patients
    path = manifest(tmp_path, *GOOD, row)
    found = hospital(path)
    assert found.problems[kind] == (2 if kind == "patient_alike" else 1)
    assert [one for one in found.patients if one in before] == before
    assert len(found.patients) == 3
    if sentence is None:
        assert len(read_source(path, TASK)) == 3
    else:
        with pytest.raises(DataError, match=sentence):
            read_source(path, TASK)


@pytest.mark.parametrize(
    ("row", "kind", "left"),
    [
        ("c.png,normal,NaN,train,", "record_nobody", 2),
        ("c.png,normal,n/a,train,", "record_nobody", 2),
        ("c.png,normal, None ,train,", "record_nobody", 2),
        ("c.png,normal,\u2013,train,", "record_nobody", 2),
        ("c.png,normal,1.23457E+11,train,", "record_rounded", 2),
        ("a.png,opacity,P1,train,", "record_contradicts", 1),
        ("a.npz,normal,P3,train,", "record_index", 2),
        ("a.npz,normal,P3,,1", "record_npz_split", 2),
        ("a.npz,normal,P3,train,\u0663", "record_index", 2),
        ("a.npz,normal,P3,train,1.0", "record_index", 2),
    ],
)
def test_what_is_one_patient_s(tmp_path: Path, row: str, kind: str, left: int) -> None:
    """It costs that patient alone at a hospital, and names its line where a reading is strict."""
    path = manifest(tmp_path, *GOOD, row)
    found = hospital(path)
    assert (found.problems, len(found.patients)) == ({kind: 1}, left)
    with pytest.raises(DataError, match=r"line 4 of .*m\.csv|for one picture of one patient"):
        read_source(path, TASK)


def test_a_row_twice_counts_once(tmp_path: Path) -> None:
    """Tables that were put together twice give the same patients; how many rows repeat is counted."""
    path = manifest(tmp_path, *GOOD, *GOOD)
    found = hospital(path)
    assert found.patients == hospital(manifest(tmp_path, *GOOD)).patients
    manifest(tmp_path, *GOOD, *GOOD)
    assert hospital(path).problems == {"repeated": 2}
    assert [len(one.images) for one in read_source(path, TASK)] == [1, 1]


def test_rows_of_one_npz_are_other_pictures(tmp_path: Path) -> None:
    """Index and split say which row it is; the same row under two patients is one picture."""
    rows = [f"m.npz,normal,P{n},{split},{n % 2}" for n, split in enumerate(["train", "train", "test", "val"])]
    assert hospital(manifest(tmp_path, *rows)).problems == {}
    assert hospital(manifest(tmp_path, *rows, "m.npz,normal,Q,train,0")).problems == {"record_shared": 1}


def test_files_without_patients_are_not_spelt(tmp_path: Path) -> None:
    """Where each file is its own patient, 1.png and 01.png are two, and so are A.png and a.png."""
    path = manifest(
        tmp_path,
        *(f"{name},normal" for name in ("1.png", "01.png", "A.png", "a.png", "nan")),
        head="file,label",
    )
    assert (len(hospital(path).patients), hospital(path).problems) == (5, {})


@pytest.mark.parametrize(
    "spellings",
    [
        ("7", "007", "7.0", "7,00", " 7 ", "\uff17"),
        ("p7", "P7", "P007", "P 7", "p\u200b7"),
        ("M\u00fcller", "Mu\u0308ller", "M\u00dcLLER"),
        ("A-1", "A\u20131", "a\u20141"),
        ("stra\u00dfe", "STRASSE"),
        ("0", "00", "0.0"),
    ],
)
def test_spellings_of_one_identifier(spellings: tuple[str, ...]) -> None:
    """Zeros in front, 7.0, case, Unicode form, spaces and dashes make no other person."""
    assert len({plain_identifier(one) for one in spellings}) == 1


@pytest.mark.parametrize(
    ("one", "other"), [("7", "70"), ("P1", "P10"), ("7.0", "7.5"), ("1-01", "1-1"), ("A1", "B1")]
)
def test_identifiers_of_two_people(one: str, other: str) -> None:
    """Zeros inside and digits behind a point count."""
    assert plain_identifier(one) != plain_identifier(other)


def test_words_and_numbers_that_name_nobody() -> None:
    """A long number in a spreadsheet's short form is nobody's; a plain 1E5 may be somebody."""
    assert all(map(names_nobody, ("nan", "NaN", "NULL", "N/A", "#N/A", "<NA>", "-", "\u2014", "?", "\\N")))
    assert not any(map(names_nobody, ("0", "Anna", "N", "nana", "1")))
    assert is_rounded("1.2E+11")
    assert is_rounded("1,23457e+11")
    assert not is_rounded("1E5")
