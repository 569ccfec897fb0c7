"""Rules of reading a hospital's source: one patient's record is that patient's alone."""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image

from shared.config.site_data import SiteData
from shared.config.study import Task
from shared.data.hospital import HospitalPatients, read_hospital
from shared.data.image_problems import PROBLEMS, advice, makes_unusable
from shared.data.sources import read_source
from shared.errors import DataError

TASK = Task(classes=("normal", "pneumonia"), image_size=32)
COLUMNS = "file,label,site,patient_id,split,mask,index,lesion_mask,text_rule"
ROWS = (
    "a.png,normal,here,anna,train,,,,", "b.png,normal,here,anna,train,,,,", "c.png,pneumonia,,bert,train,,,,",
    "d.png,normal,here,carl,val,,,,", "e.png,normal,there,dora,train,,,,",
)  # fmt: skip


def manifest(folder: Path, *rows: str | bytes) -> Path:
    """Write a manifest of four good patients, one at another site, and more rows."""
    path = folder / "m.csv"
    lines = [COLUMNS, *ROWS, *rows]
    path.write_bytes(b"".join((one if isinstance(one, bytes) else one.encode()) + b"\n" for one in lines))
    return path


def read(source: Path, site: str | None = "here", **more: object) -> HospitalPatients:
    """Read a hospital's source."""
    return read_hospital(SiteData.model_validate({"source": source, "site": site} | more), TASK)


def names(found: HospitalPatients) -> list[str]:
    """Return the identifiers."""
    return [one.patient_id for one in found.patients]


def test_good_records_are_read_as_the_strict_reading_does(tmp_path: Path) -> None:
    """Without a wrong record both readings agree, but for records without a site, which are the hospital's own."""
    path = manifest(tmp_path)
    strict = {one.patient_id: one for one in read_source(path, TASK, site="here")}
    found = read(path)
    assert names(found) == ["anna", "bert", "carl"]
    assert [one for one in found.patients if one.patient_id != "bert"] == [strict["anna"], strict["carl"]]
    assert {one.site for one in found.patients} == {"here"}
    assert found.problems == {"other_site": 1}


@pytest.mark.parametrize("site", [None, "here", "nowhere"])
def test_one_record_of_another_site_moves_nobody(tmp_path: Path, site: str | None) -> None:
    """Whose a record is, is asked of each record: a new site among them changes no other, and none raises."""
    before = names(read(manifest(tmp_path), site))
    after = names(read(manifest(tmp_path, "z.png,normal,elsewhere,zoe,train,,,,"), site))
    assert set(after) - set(before) == ({"zoe"} if site is None else set())
    assert set(before) <= set(after)
    assert (before == ["bert"]) == (site == "nowhere"), "a record without a site is the hospital's own"


@pytest.mark.parametrize(
    ("rows", "kinds"),
    [
        (["f.png,Normal,here,anna,train,,,,"], {"record_label": 1}),
        (["f.png,normal,here,anna,val,,,,"], {"record_two_splits": 3}),
        (["f.png,normal,there,anna,train,,,,"], {"record_two_sites": 2, "other_site": 1}),
        (["f.png,normal,here,anna,Train,,,,"], {"record_split": 1}),
        (["f.png,normal,here,anna,train,,x,,"], {"record_index": 1}),
        (["f.npz,normal,here,anna,train,,,,"], {"record_index": 1}),
        (["f.png,normal,here,anna,train,,,,yes"], {"record_text_rule": 1}),
        (["f\0.png,normal,here,anna,train,,,,"], {"record_text": 1}),
        ([f"f.png,normal,here,anna,train,{'m' * 300},,,"], {"record_path": 1}),
        ([b"f.png,normal,here,anna,train,\xff,,,"], {"record_encoding": 1}),
        (['f.png,normal,here,anna,train,"m'], {"record_quotes": 1}),
        (["f.png,normal,here,anna"], {"record_cells": 1}),
        (["f.png,normal,here,anna,train,,,,,9"], {"record_cells": 1}),
    ],
)
def test_a_wrong_record_takes_its_own_patient_out_whole(
    tmp_path: Path, rows: Sequence[str | bytes], kinds: dict[str, int]
) -> None:
    """Whatever is wrong with a record of anna, anna is left out and counted by kind; nobody else is touched."""
    before = read(manifest(tmp_path)).patients
    found = read(manifest(tmp_path, *rows))
    assert found.patients == [one for one in before if one.patient_id != "anna"]
    assert Counter(found.problems) - Counter({"other_site": 1}) == Counter(kinds)


@pytest.mark.parametrize("row", ["f.png,normal,here,,train,,,,", b"f.png,normal,here,\xff,train,,,,"])
def test_a_record_of_nobody_takes_nobody_out(tmp_path: Path, row: str | bytes) -> None:
    """A record that names no patient is counted, and that is all."""
    found = read(manifest(tmp_path, row))
    assert found.patients == read(manifest(tmp_path)).patients
    assert sum(count for kind, count in found.problems.items() if makes_unusable(kind)) == 1


def test_a_label_that_is_left_out_or_empty_takes_nobody_out(tmp_path: Path) -> None:
    """What label_map maps to "" goes without a word; a record without a label is counted; the patient stays."""
    rows = ["f.png,lateral,here,anna,train,,,,", "g.png,,here,anna,train,,,,"]
    found = read(manifest(tmp_path, *rows), label_map={"lateral": ""})
    assert found.patients == read(manifest(tmp_path)).patients
    assert found.problems == {"no_label": 1, "other_site": 1}


def test_a_row_twice_is_one_patients(tmp_path: Path) -> None:
    """A line that stands twice counts once; a file under two patients is both's, and told."""
    before = {one.patient_id: one for one in read(manifest(tmp_path)).patients}
    whole = read(manifest(tmp_path, ROWS[0], "c.png,normal,,emil,train,,,,"))
    found = {one.patient_id: one for one in whole.patients}
    assert (whole.problems["repeated"], whole.problems["record_shared"]) == (1, 1)
    assert found.pop("emil").images[0].file == before["bert"].images[0].file
    assert found == before


def test_nobody_left_is_no_error(tmp_path: Path) -> None:
    """A hospital whose last patient is gone has no patients, where the strict reading has an error."""
    path = tmp_path / "m.csv"
    path.write_text(f"{COLUMNS}\n")
    assert read(path).patients == []
    with pytest.raises(DataError, match="holds no image"):
        read_source(path, TASK)


@pytest.mark.parametrize("header", ["file,labels", "files,label", "\udcff,label"])
def test_what_is_no_records_fault_is_an_error(tmp_path: Path, header: str) -> None:
    """A manifest that is gone, or whose header lacks a column, is refused by both readings."""
    path = tmp_path / "m.csv"
    with pytest.raises(DataError, match="allowed is a manifest"):
        read(path)
    path.write_bytes(header.encode(errors="surrogateescape") + b"\na.png,normal\n")
    with pytest.raises(DataError, match=r"manifest .* (has no column|has a header that is not UTF-8)"):
        read(path)


lines = some.one_of(
    some.binary(max_size=200),
    some.builds(
        bytes.replace,
        some.sampled_from([row.replace("anna", "zoe").replace("bert", "zoe").encode() for row in ROWS[:3]]),
        some.sampled_from([b",", b"zoe", b"here", b"train", b".png", b"normal"]),
        some.binary(max_size=40),
    ),
)


@given(line=lines)
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
def test_no_bytes_in_a_line_change_another_patient(tmp_path: Path, line: bytes) -> None:
    """Any bytes, as one more line or as several, leave all others as they were, and never raise."""
    others = read(manifest(tmp_path)).patients
    found = read(manifest(tmp_path, line)).patients
    assert [one for one in found if one.patient_id in {"anna", "bert", "carl"}] == others


def tree(folder: Path) -> Path:
    """Write class folders of four patients, with a patients.csv."""
    table = ["file,patient_id"]
    for number, (split, label) in enumerate([("train", "normal"), ("train", "pneumonia")] * 2):
        file = folder / "tree" / split / label / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (40, 40), dtype=np.uint8)).save(file)
        table.append(f"{split}/{label}/{number}.png,p{number}")
    (folder / "tree" / "patients.csv").write_text("\n".join([*table, ""]))
    return folder / "tree"


def test_a_file_under_two_patients_counts_for_both(tmp_path: Path) -> None:
    """Whether a second patient claims a file changes nothing for the first, whichever line comes first."""
    root = tree(tmp_path)
    before = read(root).patients
    for first in (True, False):
        rows = (root / "patients.csv").read_text().splitlines()
        place = 1 if first else len(rows)
        (root / "patients.csv").write_text(
            "\n".join([*rows[:place], "train/normal/0.png,zoe", *rows[place:]])
        )
        found = read(root)
        assert [one for one in found.patients if one.patient_id != "zoe"] == before
        assert names(found)[-1] == "zoe"
        assert found.problems == {"record_shared": 1}
        (root / "patients.csv").write_text("\n".join(rows))


def test_a_stray_npz_leaves_class_folders_what_they_are(tmp_path: Path) -> None:
    """An .npz beside the class folders changes neither kind nor patients; alone in a folder it is the source."""
    root = tree(tmp_path)
    before = read(root).patients
    np.savez(root / "stray.npz", train_images=np.zeros((1, 28, 28), np.uint8))
    assert read(root).patients == before
    shutil.rmtree(root / "train")
    with pytest.raises(DataError, match=r"raw MedMNIST \.npz"):
        read(root)


def test_folders_that_cannot_be_walked_are_counted(tmp_path: Path) -> None:
    """Folders 200 deep, and one whose path is longer than a system lists, are passed over with a count."""
    root = tree(tmp_path)
    before = read(root).patients
    deep = root / "train" / "normal"
    (deep / "/".join("a" * 200)).mkdir(parents=True)
    here = Path.cwd()
    try:
        os.chdir(deep)
        for _ in range(20):  # one step at a time, since no call takes so long a path
            Path("b" * 250).mkdir()
            os.chdir("b" * 250)
    finally:
        os.chdir(here)
    found = read(root)
    assert (found.patients, found.problems) == (before, {"record_folder": 2})


@pytest.mark.parametrize("kind", [kind for kind in PROBLEMS if kind.startswith("record")])
def test_each_kind_says_what_to_do(kind: str) -> None:
    """The local check's sentence has count, what is wrong and a remedy; each counts towards max_unreadable."""
    wrong, remedy = PROBLEMS[kind]
    assert advice(kind, 3) == f"{kind} 3: {wrong}; {remedy}"
    assert wrong
    assert remedy
    assert makes_unusable(kind)
