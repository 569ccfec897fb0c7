"""A record of one patient, however wrong, changes neither a site's answers nor any other patient."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client.rounds.answer import answer
from client.site.site import Site
from deploy.simulation.phantoms import SitePlan
from tests.contracts.test_neighbour import KEY, class_folders, clipped_sum, rows_of
from tests.dicom_files import dicom_file, dicom_hospital, picture

EVERYBODY = {"privacy": {"sample_rate": 1.0}}
KINDS = {"train": {"update", "ledger_statement"}, "evaluate": {"evaluation", "ledger_statement"}}
ALLOWED = ["enrolment", "update", "evaluation", "ledger_statement", "status", "error"]
NEW = "a-new-patient"
Change = Callable[[Path], None]


def opened(federation: Any, state: Path, data: Mapping[str, Any]) -> Site:
    """Open a hospital of the tiny federation under a key that every test has."""
    (state / "film").mkdir(parents=True)
    (state / "film" / "site.key").write_bytes(KEY)
    site: Site = federation.site(
        "film",
        state,
        data=dict(data),
        allow_releases=ALLOWED,
        declared_patients=6,
        cap={"epsilon": 50.0, "delta": 1e-5},
    )
    return site


def moved(federation: Any, folder: Path, data: Mapping[str, Any], change: Change) -> float:
    """Return how far the others' sum moves where a patient is there and cannot be read, in clips."""
    study = federation.changed(**EVERYBODY)
    site = opened(federation, folder / "one", data)
    before = clipped_sum(site, study, "head")
    change(Path(data["source"]))
    for asked, parts in KINDS.items():
        assert set(answer(site, federation.request(asked, 1, study=study))) == parts, asked
    return float((clipped_sum(site, study, "head") - before).norm()) / study.privacy.max_grad_norm


def check(federation: Any, folder: Path, data: Mapping[str, Any], change: Change, kind: str | None) -> None:
    """Enrol, change the data as one patient would, and hold the answers and the others' sum against before."""
    study = federation.changed(**EVERYBODY)
    source = Path(data["source"])
    site = opened(federation, folder / "state", data)
    assert set(answer(site, federation.request("enrol", 0, study=study))) == {"enrolment"}
    before, people = clipped_sum(site, study, "head"), site.patients(study)
    assert before.norm() > 0
    change(source)
    after = site.records(study)
    assert after.patients == people
    assert kind is None or after.problems.get(kind, 0) >= 1, after.problems
    assert torch.equal(clipped_sum(site, study, "head"), before)
    for asked, parts in KINDS.items():
        assert set(answer(site, federation.request(asked, 1, study=study))) == parts, asked


def line(row: Mapping[str, str], **changes: str) -> bytes:
    """Return one line of a manifest."""
    return ",".join((row | {"patient_id": NEW} | changes).values()).encode()


# What stands in the line, and the word under which it is counted. The patient's first line is a good one.
LINES: dict[str, tuple[Callable[[dict[str, str]], bytes], str]] = {
    "misspelt label": (lambda row: line(row, label="Pneumonai"), "record_label"),
    "unknown split": (lambda row: line(row, split="Train"), "record_split"),
    "two splits": (lambda row: line(row, split="val"), "record_two_splits"),
    "two sites": (lambda row: line(row, site="elsewhere"), "record_two_sites"),
    "bad index": (lambda row: line(row, index="-1"), "record_index"),
    "index of 5,000 digits": (lambda row: line(row, index="9" * 5000), "record_index"),
    "bad text_rule": (lambda row: line(row, text_rule="maybe"), "record_text_rule"),
    "NUL in the path": (lambda row: line(row, file="a\0b.png"), "record_text"),
    "path too long": (lambda row: line(row, file="a" * 300), "record_path"),
    "mask path too long": (lambda row: line(row, mask="a/" * 3000), "record_path"),
    "bytes that are no UTF-8": (lambda row: line(row) + b"\xff\xfe", "record_encoding"),
    "open quotation mark": (lambda row: line(row, mask='"oh'), "record_quotes"),
    "cell of 200,000 characters": (lambda row: line(row, mask="a" * 200_000), "record_long"),
    "line of two million characters": (lambda row: line(row, mask="a" * 2_000_000), "record_long"),
    "too many cells": (lambda row: line(row) + b",one,two", "record_cells"),
    "too few cells": (lambda row: b",".join(line(row).split(b",")[:4]), "record_cells"),
    "file that is gone": (lambda row: line(row, file="gone.png"), ""),
}
NOBODY: dict[str, tuple[Callable[[dict[str, str]], bytes], str]] = {
    "empty patient_id": (lambda row: line(row, patient_id=""), "record_no_patient"),
    "NUL in patient_id": (lambda row: line(row, patient_id="a\0"), "record_text"),
    "patient_id that is no UTF-8": (lambda row: line(row).replace(b"new", b"n\xe9w"), "record_encoding"),
    "open quotation mark from the start": (lambda row: b'"' + line(row), "record_quotes"),
    "another site's line": (lambda row: line(row, site="elsewhere", label="x"), "other_site"),
    "no picture at all": (lambda _row: b"\x00\x01\x02,,,\xf0", "record_encoding"),
}
UNREAD = {"cell of 200,000 characters", "line of two million characters"}  # so that they name nobody


@pytest.mark.parametrize("what", [*LINES, *NOBODY])
def test_a_line_of_a_manifest(tiny_federation: Any, tmp_path: Path, what: str) -> None:
    """Added after enrolment, a line of any wrong kind leaves both answers and everybody else as they were."""
    manifest = tmp_path / "live.csv"
    shutil.copyfile(tiny_federation.workspace / "manifests" / "film.csv", manifest)
    row = next(one for one in rows_of(manifest) if one["split"] == "train")
    make, kind = (LINES | NOBODY)[what]

    def change(source: Path) -> None:
        first = [line(row)] if what in LINES and what not in UNREAD else []
        lines = [*first, make(row), b""]
        with source.open("ab") as file:
            file.write(b"\r\n".join(lines))

    data = {"source": str(manifest), "site": "film"}
    if what == "file that is gone":  # known only once it is read: the patient is there and contributes zero
        assert moved(tiny_federation, tmp_path, data, change) == 0
    else:
        check(tiny_federation, tmp_path, data, change, kind)


def _add(text: bytes, table: str = "patients.csv") -> Change:
    def change(root: Path) -> None:
        with (root / table).open("ab") as file:
            file.write(text)

    return change


def _copy(to: bytes, listed: bool = True) -> Change:
    """Add a copy of a picture under another name, as the new patient's where it is `listed`."""

    def change(root: Path) -> None:
        picture_file = next(root.rglob("*.png"))
        path = os.fsencode(root) + b"/" + to
        Path(os.fsdecode(path)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture_file, os.fsdecode(path))
        if listed:
            _add(to + b"," + NEW.encode() + b"\n")(root)

    return change


def _both(*changes: Change) -> Change:
    def change(root: Path) -> None:
        for one in changes:
            one(root)

    return change


def _pipe(root: Path) -> None:
    os.mkfifo(next(root.rglob("*.png")).parent / "pipe.png")


def _npz(root: Path) -> None:
    np.savez(root / "stray.npz", train_images=np.zeros((2, 28, 28), np.uint8))


GOOD = _copy(b"train/normal/x1.png")
TREES: dict[str, tuple[Change, str | None]] = {
    "image without a line": (_copy(b"train/normal/x.png", listed=False), "record_unlisted"),
    "image in no class folder": (_both(GOOD, _copy(b"train/x.png")), "record_place"),
    "unknown class": (_both(GOOD, _copy(b"train/nromal/x.png")), "record_label"),
    "two splits": (_both(GOOD, _copy(b"val/normal/x.png")), "record_two_splits"),
    "name that is no UTF-8": (_copy(b"train/normal/\xff.png", listed=False), "record_text"),
    "folders too deep": (_copy(b"train/normal/" + b"a/" * 200 + b"x.png"), "record_folder"),
    "pipe in place of a picture": (_pipe, "record_unlisted"),
    "stray .npz": (_npz, None),
    "open quotation mark": (_add(b'"train/normal/x2.png,' + NEW.encode() + b"\n"), "record_quotes"),
    "bytes that are no UTF-8": (_add(b"\xff\xfe,\xe9\n"), "record_encoding"),
    "empty patient_id": (_add(b"train/normal/x.png,\n"), "record_no_patient"),
    "too few cells": (_add(b"train/normal/x.png\n"), "record_cells"),
    "cell of 200,000 characters": (_add(b"a" * 200_000 + b",b\n"), "record_long"),
}  # fmt: skip


@pytest.mark.parametrize("what", TREES)
def test_a_file_or_line_of_class_folders(tiny_federation: Any, tmp_path: Path, what: str) -> None:
    """The same holds for class folders with a patients.csv, their files, names and folders."""
    manifest = tiny_federation.workspace / "manifests" / "film.csv"
    tree = class_folders(manifest, tmp_path, named=True)
    change, kind = TREES[what]
    check(tiny_federation, tmp_path, {"source": str(tree), "site": "film"}, change, kind)


def _film(name: str, **tags: Any) -> Change:
    def change(root: Path) -> None:
        stored = picture(top=255).astype(np.uint8)
        dicom_file(root / name, stored, PatientID=NEW, SOPInstanceUID=f"1.2.{len(name)}", **tags)

    return change


def _label(text: bytes) -> Change:
    return _add(text, "labels.csv")


def _blank(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(NEW.encode(), b" " * len(NEW)))


def _nobody(root: Path) -> None:
    _film("x.dcm")(root)
    _blank(root / "x.dcm")


def _pipe_of_films(root: Path) -> None:
    os.mkfifo(root / "pipe.dcm")


def _named(name: bytes) -> Change:
    def change(root: Path) -> None:
        Path(os.fsdecode(os.fsencode(root) + b"/" + name)).write_bytes(b"no DICOM")

    return change


FILMS: dict[str, tuple[Change, str | None]] = {
    "film without a label": (_film("x.dcm"), "no_label"),
    "misspelt label": (_both(_film("x.dcm"), _label(b"1.2.5,opactiy\n")), "record_label"),
    "two labels": (_both(_film("x.dcm"), _label(b"1.2.5,normal\n1.2.5,opacity\n")), "label_unclear"),
    "damaged line of its key": (_both(_film("x.dcm"), _label(b"1.2.5,\xff\n")), "label_unclear"),
    "label line that is no UTF-8": (_label(b"\xff\xfe,normal\n"), "record_encoding"),
    "label line with an open quotation mark": (_label(b'"1.2.5,normal\n'), "record_quotes"),
    "label line with too few cells": (_label(b"1.2.5\n"), "record_cells"),
    "no DICOM": (_named(b"x.dcm"), "image_unreadable"),
    "no PatientID": (_nobody, "image_no_patient"),
    "pipe": (_pipe_of_films, "image_unreadable"),
    "folders too deep": (_film("/".join("a" * 200) + "/x.dcm"), "record_folder"),
    "name that is no UTF-8": (_named(b"\xff.dcm"), "image_unreadable"),
    "pixels missing": (_both(_film("bomb.dcm", PixelData=bytes(8)), _label(b"1.2.8,normal\n")), ""),
}


@pytest.mark.parametrize("what", FILMS)
def test_a_file_or_label_of_dicom(tiny_federation: Any, tmp_path: Path, what: str) -> None:
    """The same holds for DICOM films and the table of their labels."""
    data = dicom_hospital(tmp_path / "films", SitePlan("film", {"train": 8}))
    change, kind = FILMS[what]
    if kind == "":
        assert moved(tiny_federation, tmp_path, data, change) == 0
    else:
        check(tiny_federation, tmp_path, data, change, kind)
