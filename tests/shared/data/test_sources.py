"""Rules of reading a source of images."""

import csv
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.simulation.phantoms import CLASSES, SitePlan, write_phantoms
from shared.config.study import Task
from shared.data.images import load_mask, load_pixels
from shared.data.patients import Patient
from shared.data.sources import describe_source, patients_by_site, read_source
from shared.data.views import patient_views
from shared.errors import DataError

TASK = Task(classes=("normal", "pneumonia"), image_size=32)


def picture(path: Path, seed: int = 0, size: tuple[int, int] = (40, 30)) -> Path:
    """Write a small random grey picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 256, size[::-1], dtype=np.uint8)).save(path)
    return path


def manifest(folder: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write a manifest with the keys of the first row as columns."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def row(file: str, label: str = "normal", **more: str) -> dict[str, str]:
    """One row of a manifest."""
    return {"file": file, "label": label, "site": "a", "patient_id": file, "split": "train"} | more


def everything(patients: Sequence[Patient], task: Task) -> list[tuple[object, ...]]:
    """All that the rest of the system sees of patients: order, sites, labels, views."""
    return [
        (p.patient_id, p.site, p.split, tuple(r.file.name for r in p.images), views.tobytes(), tuple(labels))
        for p in patients
        for views, labels in [patient_views(p, task, 3)]
    ]


def test_removing_a_patient_from_the_folder_changes_no_other(tmp_path: Path) -> None:
    """With a patient's files and rows gone, all others keep views, labels, order, site and split."""
    task = Task(classes=CLASSES, image_size=32)
    sites = [SitePlan("a", {"train": 5}), SitePlan("b", {"train": 3, "val": 2})]
    path = write_phantoms(tmp_path, sites=sites, seed=1, size=32)
    before = read_source(path, task)
    gone = before[3]
    for record in gone.images:
        record.file.unlink()
    with path.open(newline="") as file:
        kept = [r for r in csv.DictReader(file) if r["patient_id"] != gone.patient_id]
    manifest(tmp_path, kept)
    assert everything(read_source(path, task), task) == everything([p for p in before if p != gone], task)


def test_removing_a_file_from_class_folders_changes_no_other(tmp_path: Path) -> None:
    """The same holds for class folders, where a patient is a file."""
    for i in range(4):
        picture(tmp_path / "train" / TASK.classes[i % 2] / f"{i}.png", i)
    before = read_source(tmp_path, TASK)
    before[0].images[0].file.unlink()
    assert everything(read_source(tmp_path, TASK), TASK) == everything(before[1:], TASK)


def test_manifest_paths_are_found_beside_it_or_in_the_parent(tmp_path: Path) -> None:
    """A relative path is looked for in the manifest's folder first, then in the parent."""
    picture(tmp_path / "cxr" / "x.png")
    picture(tmp_path / "cxr" / "y.png")
    path = manifest(tmp_path / "cxr", [row("cxr/x.png"), row("y.png")])
    assert [p.images[0].file for p in read_source(path, TASK)] == [
        tmp_path / "cxr/x.png",
        tmp_path / "cxr/y.png",
    ]


def test_row_order_of_the_manifest_does_not_matter(tmp_path: Path) -> None:
    """Patients come sorted by identifier and images by file name, however the rows stand."""
    rows = [row("c.png", patient_id="p1"), row("a.png", patient_id="p2"), row("b.png", patient_id="p1")]
    forward = read_source(manifest(tmp_path, rows), TASK)
    assert forward == read_source(manifest(tmp_path, rows[::-1]), TASK)
    assert [r.file.name for r in forward[0].images] == ["b.png", "c.png"]


def test_label_map_renames_and_leaves_out(tmp_path: Path) -> None:
    """A mapped label becomes the study's class; a label mapped to nothing leaves its row out."""
    path = manifest(tmp_path, [row("a.png", "NORMAL"), row("b.png", "covid19"), row("c.png", "pneumonia")])
    patients = read_source(path, TASK, label_map={"NORMAL": "normal", "covid19": ""})
    assert [(p.patient_id, p.label) for p in patients] == [("a.png", 0), ("c.png", 1)]


def test_an_unknown_label_is_refused_by_name(tmp_path: Path) -> None:
    """An unknown label is refused in one sentence with the label and the classes."""
    with pytest.raises(
        DataError, match=r"label is 'covid19'.*allowed is one of normal, pneumonia; .*label_map"
    ):
        read_source(manifest(tmp_path, [row("a.png", "covid19")]), TASK)


@pytest.mark.parametrize("field", ["split", "site"])
def test_a_patient_in_two_splits_or_sites_is_refused_and_counted(tmp_path: Path, field: str) -> None:
    """A patient spread over two splits or sites is refused; the sentence counts and does not name."""
    rows = [row("a.png", patient_id="secret"), row("b.png", patient_id="secret") | {field: "val"}]
    with pytest.raises(DataError, match=f"more than one {field} for 1 patients") as caught:
        read_source(manifest(tmp_path, rows), TASK, site="a")
    assert "secret" not in str(caught.value)


def test_site_keeps_one_site_of_a_manifest(tmp_path: Path) -> None:
    """`site` keeps the rows of that site; an unknown one is refused with those there are."""
    path = manifest(tmp_path, [row("a.png"), row("b.png", site="b")])
    assert [p.site for p in read_source(path, TASK, site="b")] == ["b"]
    assert list(patients_by_site(read_source(path, TASK))) == ["a", "b"]
    with pytest.raises(DataError, match=r"site is 'c', allowed in .* is one of a, b"):
        read_source(path, TASK, site="c")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([{"file": "a.png"}], "no column label"),
        ([row("a.png", patient_id="")], "patient_id is empty in line 2"),
        ([row("a.png", split="dev")], "split is 'dev' in line 2.*allowed is train, val, test or empty"),
        ([row("a.png") | {"index": "x"}], "index is 'x' in line 2"),
    ],
)
def test_a_wrong_manifest_is_refused(tmp_path: Path, rows: list[dict[str, str]], sentence: str) -> None:
    """A mistake in a manifest is one sentence with field, value, place and what is allowed."""
    with pytest.raises(DataError, match=sentence):
        read_source(manifest(tmp_path, rows), TASK)


def test_a_source_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    """A path that is no manifest, folder or .npz is refused with the kinds there are."""
    with pytest.raises(DataError, match="allowed is a manifest"):
        read_source(tmp_path / "nothing.csv", TASK)
    with pytest.raises(DataError, match="holds no image"):
        read_source(tmp_path, TASK)


def test_a_manifest_without_patients_says_so(tmp_path: Path) -> None:
    """Without a patient_id column each image is a patient, and a note tells it."""
    path = manifest(tmp_path, [{"file": f"{i}.png", "label": "normal"} for i in range(2)])
    assert len(read_source(path, TASK)) == 2
    assert "each image counts as a patient" in describe_source(path, TASK)[0]
    assert describe_source(manifest(tmp_path, [row("a.png")]), TASK) == ()


@pytest.mark.parametrize("prefix", ["", "val"])
def test_class_folders_with_and_without_split(tmp_path: Path, prefix: str) -> None:
    """<class>/* and <split>/<class>/* are read, the split from the folder's name, the site as asked."""
    picture(tmp_path / prefix / "normal" / "1.png")
    picture(tmp_path / prefix / "pneumonia" / "1.png", 1)
    patients = read_source(tmp_path, TASK, site="here")
    assert [(p.patient_id, p.label, p.split, p.site) for p in patients] == [
        (f"{prefix}/normal/1".strip("/"), 0, prefix, "here"),
        (f"{prefix}/pneumonia/1".strip("/"), 1, prefix, "here"),
    ]


def test_a_patients_csv_of_another_encoding_is_one_sentence(tmp_path: Path) -> None:
    """A patients.csv in Latin-1 is refused with the encoding that is needed."""
    picture(tmp_path / "normal" / "1.png")
    (tmp_path / "patients.csv").write_bytes("file,patient_id\nnormal/1.png,M\u00fcller\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"line 2 of .*patients\.csv is not UTF-8 but perhaps Windows-1252"
    ) as refused:
        read_source(tmp_path, TASK)
    assert "ller" not in str(refused.value)


def test_a_file_of_two_patients_is_refused(tmp_path: Path) -> None:
    """A file listed under two patients is counted, not named; listed twice under one it is that patient's."""
    for name in ("1", "2", "3"):
        picture(tmp_path / "normal" / f"{name}.png")
    rows = ["file,patient_id", "normal/1.png,anna", "normal/2.png,anna", "normal/3.png,bert"]
    table = tmp_path / "patients.csv"
    table.write_text("\n".join([*rows, "normal/1.png, anna"]))
    assert [len(p.images) for p in read_source(tmp_path, TASK)] == [2, 1]
    table.write_text("\n".join([*rows, "normal/1.png,bert", "normal/2.png,carl"]))
    with pytest.raises(
        DataError, match=r"more than one patient_id for 2 files of .*, allowed is one"
    ) as refused:
        read_source(tmp_path, TASK)
    assert not any(name in str(refused.value) for name in ("anna", "bert", "carl", "normal"))


def test_an_image_outside_a_class_folder_is_refused(tmp_path: Path) -> None:
    """An image beside the class folders, or right below a split, is refused with the layouts."""
    picture(tmp_path / "train" / "1.png")
    with pytest.raises(DataError, match="no class folder"):
        read_source(tmp_path, TASK)


def test_covid_qu_ex_layout(tmp_path: Path) -> None:
    """COVID-QU-Ex: images and lung masks are paired, and its repeated part is left out with a note."""
    task = Task(classes=("Normal", "Non-COVID", "COVID-19"), image_size=32)
    main = tmp_path / "Lung Segmentation Data" / "Lung Segmentation Data"
    for split, label, name in (
        ("Train", "COVID-19", "covid_1"), ("Val", "Non-COVID", "non_COVID (2)"), ("Test", "Normal", "n3"),
    ):  # fmt: skip
        picture(main / split / label / "images" / f"{name}.png", size=(40, 40))
        picture(main / split / label / "lung masks" / f"{name}.png", size=(40, 40))
    again = tmp_path / "Infection Segmentation Data" / "Infection Segmentation Data" / "Train" / "COVID-19"
    picture(again / "images" / "covid_1.png")
    above = "Lung Segmentation Data/Lung Segmentation Data"
    patients = read_source(tmp_path, task)
    assert {(p.patient_id, p.label, p.split) for p in patients} == {
        (f"{above}/Train/COVID-19/covid_1", 2, "train"),
        (f"{above}/Val/Non-COVID/non_COVID (2)", 1, "val"),
        (f"{above}/Test/Normal/n3", 0, "test"),
    }
    assert all(load_mask(p.images[0], task) is not None for p in patients)
    assert any("repeats" in note for note in describe_source(tmp_path, task))


def test_a_missing_lung_mask_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    """An image of a class with a mask folder but without its own mask is refused, not taken as mask-free."""
    picture(tmp_path / "Train" / "normal" / "images" / "a.png")
    (tmp_path / "Train" / "normal" / "lung masks").mkdir()
    (patient,) = read_source(tmp_path, TASK)
    with pytest.raises(DataError, match=r"mask .* does not exist; restore it"):
        load_mask(patient.images[0], TASK)


def test_lc25000_without_grouping_is_flagged_and_with_it_is_grouped(tmp_path: Path) -> None:
    """LC25000 tells that each image counts as a patient, until patients.csv groups images by source tile."""
    task = Task(classes=("lung_aca", "colon_n"), image_size=32)
    files = ["lung_image_sets/lung_aca/lungaca1.jpeg", "lung_image_sets/lung_aca/lungaca2.jpeg",
             "colon_image_sets/colon_n/colonn1.jpeg"]  # fmt: skip
    for file in files:
        picture(tmp_path / file)
    assert len(read_source(tmp_path, task)) == 3
    assert any("LC25000" in note for note in describe_source(tmp_path, task))
    lines = [f"{file},tile{int('colon' in file)}" for file in files]
    (tmp_path / "patients.csv").write_text("\n".join(["file,patient_id", *lines]))
    assert [len(p.images) for p in read_source(tmp_path, task)] == [2, 1]
    assert describe_source(tmp_path, task) == ()


def test_a_grouping_must_name_every_image(tmp_path: Path) -> None:
    """An image that patients.csv does not name is refused: it would silently become a patient."""
    picture(tmp_path / "normal" / "1.png")
    (tmp_path / "patients.csv").write_text("file,patient_id\n")
    with pytest.raises(DataError, match=r"no row for normal/1\.png"):
        read_source(tmp_path, TASK)


def test_folder_with_manifest_equals_the_manifest(tmp_path: Path) -> None:
    """A folder that holds manifest.csv is read by it, not by its folders."""
    picture(tmp_path / "odd" / "a.png")
    path = manifest(tmp_path, [row("odd/a.png")])
    assert read_source(tmp_path, TASK) == read_source(path, TASK)


def test_a_moved_folder_gives_the_same_pixels(tmp_path: Path) -> None:
    """Nothing but the path changes when a folder is moved."""
    picture(tmp_path / "one" / "normal" / "1.png")
    before = load_pixels(read_source(tmp_path / "one", TASK)[0].images[0], TASK)
    shutil.move(tmp_path / "one", tmp_path / "two")
    after = load_pixels(read_source(tmp_path / "two", TASK)[0].images[0], TASK)
    np.testing.assert_array_equal(before, after)
