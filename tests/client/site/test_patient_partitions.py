"""A patient's partition is decided once, by the patient alone."""

import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from client.site.patient_partitions import assign_partitions, known_partitions
from shared.data.patients import ImageRecord, Patient

KEY = b"s" * 32


def patient(name: str, split: str = "") -> Patient:
    """Return a patient of one image."""
    return Patient(name, (ImageRecord(Path(f"{name}.png"), 0, "north", name, split, None),))


def places(patients: list[Patient], table: Path, key: bytes = KEY) -> dict[str, str]:
    """Return each patient's partition by identifier."""
    parts = assign_partitions(patients, table, key)
    return {one.patient_id: part for part, members in parts.items() for one in members}


MANY = [patient(f"p{number}") for number in range(300)]


def test_the_manifests_split_decides(tmp_path: Path) -> None:
    """Patients of split train train, those of val evaluate, those of test are for the audit."""
    patients = [patient("a", "train"), patient("b", "val"), patient("c", "test")]
    assert places(patients, tmp_path / "t") == {"a": "train", "b": "evaluation", "c": "audit"}


def test_a_partition_is_fixed_at_first_import(tmp_path: Path) -> None:
    """Neither a later split in the manifest nor a new import moves a patient who was seen before."""
    first = places([patient("a", "train"), *MANY], tmp_path / "t")
    moved = [patient("a", "test"), *(patient(one.patient_id, "val") for one in MANY)]
    assert places(moved, tmp_path / "t") == first


def test_nobody_moves_when_others_come_or_go(tmp_path: Path) -> None:
    """Each patient's place is the same alone, among others, in any order and after others left."""
    among = places(MANY, tmp_path / "all")
    for number in range(0, 300, 60):
        assert places(MANY[number : number + 1], tmp_path / f"alone{number}").items() <= among.items()
    assert places(MANY[::-1][:100], tmp_path / "all").items() <= among.items()
    assert places([*MANY, patient("new")], tmp_path / "all").items() >= among.items()


def test_shares_without_a_split(tmp_path: Path) -> None:
    """Without a split about 80, 10 and 10 percent train, evaluate and stand in the audit."""
    counts = Counter(places([patient(f"q{n}") for n in range(2000)], tmp_path / "t").values())
    assert counts["train"] / 2000 == pytest.approx(0.8, abs=0.03)
    assert counts["evaluation"] / 2000 == pytest.approx(0.1, abs=0.03)
    assert sum(counts.values()) == 2000


def test_another_site_divides_otherwise(tmp_path: Path) -> None:
    """The division depends on the site's key, so that nobody else can foresee it."""
    assert places(MANY, tmp_path / "a") != places(MANY, tmp_path / "b", b"t" * 32)


def test_the_table_names_nobody(tmp_path: Path) -> None:
    """Identifiers are stored as HMACs only."""
    places([patient("Jane-Doe-1970"), *MANY], tmp_path / "t")
    assert b"Jane-Doe" not in (tmp_path / "t").read_bytes()
    with sqlite3.connect(tmp_path / "t") as database:
        names = [name for (name,) in database.execute("SELECT patient FROM partitions")]
    database.close()
    assert len(names) == 301
    assert {len(name) for name in names} == {64}


def test_looking_at_partitions_agrees_with_assigning_them_and_writes_nothing(tmp_path: Path) -> None:
    """Before there is a key nobody without a split is divided; after it, looking says what enrolling will do."""
    people = [patient(f"p{number}") for number in range(40)]
    assert {part for part, _ in known_partitions(people, tmp_path)} == {"not divided yet"}
    assert [part for part, _ in known_partitions([patient("s", "val")], tmp_path)] == ["evaluation"]
    (tmp_path / "site.key").write_bytes(KEY)
    before = known_partitions(people, tmp_path)
    assert not (tmp_path / "partitions.sqlite").exists()
    assigned = assign_partitions(people, tmp_path / "partitions.sqlite", KEY)
    stands = {one.patient_id: part for part, found in assigned.items() for one in found}
    assert [(stands[one.patient_id], one) for one in people] == before == known_partitions(people, tmp_path)
    moved = [patient(one.patient_id, "test") for one in people]
    assert [part for part, _ in known_partitions(moved, tmp_path)] == [part for part, _ in before]
