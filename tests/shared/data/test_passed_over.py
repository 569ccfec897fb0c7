"""Nothing in a folder is passed over without a count by kind."""

import os
from pathlib import Path

import pytest

from shared.config.site_data import SiteData
from shared.config.study import Task
from shared.data.hospital import read_hospital
from shared.data.patients import LeftOut
from shared.data.sources import read_public, read_source
from shared.data.told import told_of
from shared.errors import DataError
from tests.shared.data.test_across import manifest

MOST_ENDINGS = 8
MAX_DEPTH = 64

TASK = Task(classes=("normal", "opacity"), image_size=32)


def touched(*paths: Path) -> None:
    """Make files; whether they can be read is not looked at by a reader."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def problems(root: Path) -> dict[str, int]:
    """Count what a hospital's reading left out."""
    return read_hospital(SiteData(source=root), TASK).problems


def test_pictures_of_other_formats_are_counted_with_their_endings(tmp_path: Path) -> None:
    """What is no PNG, JPEG, BMP or TIFF by name is counted; other endings of JPEG are read."""
    taken = [tmp_path / "normal" / name for name in ("a.PNG", "b.jpeg", "c.jfif", "d.JPE", "e.bmp", "f.TIF")]
    other = [
        tmp_path / "opacity" / f"x.{end}" for end in ("webp", "gif", "ppm", "jp2", "tga", "dcm", "nii.gz")
    ]
    touched(
        *taken, *other, tmp_path / "opacity" / "y.webp", tmp_path / "README", tmp_path / "opacity" / "1.png"
    )
    found = read_public(tmp_path, TASK)
    assert sum(len(one.images) for one in found.patients) == 7
    assert found.told.kinds == {"other_file": 1, "other_format": 8}
    endings = ".webp 2, .dcm 1, .gif 1, .gz 1, .jp2 1, .ppm 1, .tga 1"
    assert f"other_format 8 ({endings}): " in found.told.sentence("other_format")
    assert "other_file 1 (no ending 1): " in found.told.sentence("other_file")
    assert problems(tmp_path) == found.told.kinds


def test_endings_beyond_the_most_are_summed() -> None:
    """A sentence stays short, and its numbers add up."""
    told = told_of(LeftOut("other_file", file=Path(f"a.{n}")) for n in range(MOST_ENDINGS + 3))
    assert ", others 3): " in told.sentence("other_file")


@pytest.mark.parametrize(
    "name",
    ["._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", ".hidden.png", "__MACOSX/normal/._a.png", "@eaDir/a.png",
     ".git/x.png", "~$a.png"],
)  # fmt: skip
def test_what_systems_leave_behind_is_no_picture(tmp_path: Path, name: str) -> None:
    """At the root and in a class folder: counted once, a folder of a system as one."""
    touched(tmp_path / "normal" / "a.png", tmp_path / name, tmp_path / "normal" / name)
    assert problems(tmp_path) == {"system_file": 2}
    assert len(read_source(tmp_path, TASK)) == 1


def test_a_class_folder_that_is_a_link_is_read(tmp_path: Path) -> None:
    """A link to a folder outside is followed, to a file as ever; one that leads nowhere is a missing picture."""
    touched(tmp_path / "store" / "n1.png", tmp_path / "store" / "deep" / "n2.png", tmp_path / "one.png")
    root = tmp_path / "data"
    touched(root / "opacity" / "o.png")
    (root / "normal").symlink_to(tmp_path / "store", target_is_directory=True)
    (root / "opacity" / "link.png").symlink_to(tmp_path / "one.png")
    found = read_hospital(SiteData(source=root), TASK)
    assert [one.patient_id for one in found.patients] == ["normal/n1", "opacity/link", "opacity/o"]
    assert found.problems == {"record_label": 1}  # the class of n2 is called deep


@pytest.mark.parametrize("to", [".", "..", "opacity", "opacity/.."])
def test_a_link_that_leads_back_is_counted(tmp_path: Path, to: str) -> None:
    """Into the source or above it: a picture would count twice, or the walk never end."""
    root = tmp_path / "data"
    touched(root / "opacity" / "o.png")
    (root / "again").symlink_to(root / to, target_is_directory=True)
    assert problems(root) == {"linked_folder": 1}


def test_a_link_behind_a_link_is_counted(tmp_path: Path) -> None:
    """So that no maze of links, which doubles at every step, is walked."""
    root, maze = tmp_path / "data", tmp_path / "maze"
    touched(root / "opacity" / "o.png", maze / "n.png")
    for name in ("a", "b"):
        (maze / name).symlink_to(maze, target_is_directory=True)
    (root / "normal").symlink_to(maze, target_is_directory=True)
    assert problems(root) == {"linked_folder": 2}
    assert len(read_source(root, TASK)) == 2


def test_a_link_into_a_deep_folder_ends(tmp_path: Path) -> None:
    """Depth is counted from the source, through the link."""
    deep = tmp_path / "store" / Path(*["d"] * (MAX_DEPTH + 3))
    touched(deep / "x.png")
    root = tmp_path / "data"
    touched(root / "opacity" / "o.png")
    (root / "normal").symlink_to(tmp_path / "store", target_is_directory=True)
    assert problems(root) == {"record_folder": 1}


def test_a_folder_with_a_name_of_other_bytes(tmp_path: Path) -> None:
    """A file or folder whose name is no UTF-8 costs its own image, in both readings' words."""
    touched(tmp_path / "normal" / "a.png")
    for name in (b"normal/f\xe9.png", b"opacit\xe9/1.png"):
        path = os.fsencode(tmp_path) + b"/" + name
        touched(Path(os.fsdecode(path)))
    assert problems(tmp_path) == {"record_text": 2}
    with pytest.raises(DataError, match="not UTF-8"):
        read_source(tmp_path, TASK)


@pytest.mark.parametrize("above", ["train", "train/clinic"])
def test_numbered_images_of_each_split_are_other_patients(tmp_path: Path, above: str) -> None:
    """Without patients.csv each file is a patient, whatever other folders number theirs alike."""
    for split in (above, "test", "val"):
        touched(tmp_path / split / "normal" / "1.png", tmp_path / split / "opacity" / "1.png")
    assert len(read_source(tmp_path, TASK)) == 6
    assert problems(tmp_path) == {}


def test_class_folders_beside_split_folders_are_counted(tmp_path: Path) -> None:
    """What no split names is divided by the site's key, and told, where others have a split."""
    touched(
        tmp_path / "train" / "normal" / "1.png", tmp_path / "normal" / "2.png", tmp_path / "opacity" / "3.png"
    )
    assert problems(tmp_path) == {"unsplit": 2}


def test_rows_without_a_label_are_counted(tmp_path: Path) -> None:
    """An empty label is no word for leaving a row out, unless label_map says so."""
    path = manifest(tmp_path, "a.png,normal,P1,train,", "b.png,,P2,train,", "c.png, ,P3,train,")
    found = read_public(path, TASK)
    assert (len(found.patients), found.told.kinds) == (1, {"no_label": 2})
    assert problems(path) == {"no_label": 2}
    assert read_public(path, TASK, label_map={"": ""}).told.kinds == {}


def test_a_source_without_a_picture_says_what_it_passed_over(tmp_path: Path) -> None:
    """A folder of .webp alone is not just empty."""
    touched(tmp_path / "normal" / "a.webp")
    with pytest.raises(DataError, match=r"holds no image .*Passed over: other_format 1 \(\.webp 1\)"):
        read_source(tmp_path, TASK)
