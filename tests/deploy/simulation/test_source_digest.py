"""Data that changed is other data, however little of it; data that did not is not read again."""

import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.simulation.source_digest import contents_digest
from shared.config.study import Task

TASK = Task(classes=("normal", "opacity"), positive="opacity", image_size=32)
COLUMNS = ("file", "label", "patient_id", "split", "mask")
Rows = list[dict[str, str]]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Write a manifest of six patients, each with a picture and a mask."""
    rows = []
    for number in range(6):
        for kind in ("image", "mask"):
            shade = np.full((8, 8), 20 * number + (kind == "mask"), np.uint8)
            Image.fromarray(shade).save(tmp_path / f"{kind}-{number}.png")
        label = TASK.classes[number % 2]
        rows.append((f"image-{number}.png", label, f"P{number}", "train", f"mask-{number}.png"))
    return write(tmp_path / "manifest.csv", [dict(zip(COLUMNS, row, strict=True)) for row in rows])


def write(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def rows_of(path: Path) -> Rows:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def look(manifest: Path) -> str:
    known = manifest.parent / "known" / "looks.json"
    return contents_digest(manifest, TASK, None, known, lambda *_: None)


def relabelled(path: Path) -> None:
    rows = rows_of(path)
    write(path, [rows[0] | {"label": "opacity"}, *rows[1:]])


def one_less(path: Path) -> None:
    write(path, rows_of(path)[1:])


def renamed_patient(path: Path) -> None:
    rows = rows_of(path)
    write(path, [rows[0] | {"patient_id": "P9"}, *rows[1:]])


def other_picture(path: Path) -> None:
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(path.parent / "image-2.png")


def other_picture_of_the_same_size_and_time(path: Path) -> None:
    """Swap one byte and set the file's time back, as a careful copy does."""
    file = path.parent / "image-2.png"
    before, content = file.stat(), bytearray(file.read_bytes())
    content[-20] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def other_mask(path: Path) -> None:
    (path.parent / "mask-2.png").write_bytes((path.parent / "mask-3.png").read_bytes())


def lost_picture(path: Path) -> None:
    (path.parent / "image-5.png").unlink()


CHANGES = [relabelled, one_less, renamed_patient, other_picture, other_picture_of_the_same_size_and_time,
           other_mask, lost_picture]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("settled_seconds", [2.0, -1.0])
def test_every_change_is_seen(
    manifest: Path, change: Callable[[Path], None], settled_seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Labels, rows, identifiers, pictures and masks change the digest, also where earlier looks at files are kept."""
    monkeypatch.setattr("deploy.simulation.source_digest._SETTLED_SECONDS", settled_seconds)
    before = look(manifest)
    assert look(manifest) == before
    change(manifest)
    assert look(manifest) != before


def test_files_that_did_not_change_are_not_read_again(
    manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second look reads only what changed since the first, and one that changed a moment ago."""
    read: list[str] = []
    monkeypatch.setattr("deploy.simulation.source_digest._SETTLED_SECONDS", -1.0)
    monkeypatch.setattr(
        "deploy.simulation.source_digest._file_digest", lambda path: read.append(path.name) or path.name
    )
    look(manifest)
    assert len(read) == 12
    read.clear()
    other_picture(manifest)
    look(manifest)
    assert read == ["image-2.png"]
    read.clear()
    monkeypatch.setattr("deploy.simulation.source_digest._SETTLED_SECONDS", 3600.0)
    look(manifest)  # nothing that changed within the hour is kept from here on
    look(manifest)
    assert len(read) == 12


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"a": [1]}', '{"a": 1}'])
def test_damaged_looks_are_no_looks(manifest: Path, damage: str) -> None:
    """Where the file of earlier looks is damaged, the digest is the same."""
    before = look(manifest)
    known = manifest.parent / "known"
    known.mkdir(exist_ok=True)
    (known / "looks.json").write_text(damage, encoding="utf-8")
    assert look(manifest) == before
