"""No picture of a simulation is trained on and judges the student as well, whatever it is called."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.simulation.duplicate_pictures import copies_told
from shared.config.study import Task
from shared.data.public_division import Division, divide_public
from shared.data.sources import patients_by_site, read_public
from shared.errors import DataError

TASK = Task(classes=("normal", "opacity"), image_size=32)


def rows(folder: Path, num: int = 12) -> list[str]:
    """Draw pictures of two sites, a third of them for the test; return their rows."""
    found = []
    for number in range(num):
        grey = np.random.default_rng(number).integers(0, 255, (16, 16), np.uint8)
        Image.fromarray(grey).save(folder / f"{number}.png")
        label, split = ("normal", "opacity")[number % 2], ("train", "val", "test")[number % 3]
        found.append(f"{number}.png,{label},P{number},{split},s{number % 2}")
    return found


def divided(folder: Path, *lines: str) -> Division:
    """Read a manifest and divide its patients."""
    (folder / "m.csv").write_text("\n".join(["file,label,patient_id,split,site", *lines]))
    patients = patients_by_site(read_public(folder / "m.csv", TASK).patients)
    return divide_public(patients, cohort_fraction=0.5, public_site=None)


def test_pictures_of_their_own_are_no_matter(tmp_path: Path) -> None:
    """Nothing is told where every picture is another."""
    assert copies_told(divided(tmp_path, *rows(tmp_path))) == ()


@pytest.mark.parametrize(("split", "is_refused"), [("train", True), ("test", False), ("val", False)])
def test_a_copy_of_a_test_picture(tmp_path: Path, split: str, is_refused: bool) -> None:
    """Trained on it is refused, with two paths; held out as well it is told with a count."""
    lines = rows(tmp_path)
    shutil.copyfile(tmp_path / "2.png", tmp_path / "copy.png")
    division = divided(tmp_path, *lines, f"copy.png,opacity,Q,{split},s1")
    if is_refused:
        with pytest.raises(
            DataError, match=r"1 pictures are trained on and stand in .*2\.png and .*copy\.png"
        ):
            copies_told(division)
    else:
        told = copies_told(division)
        assert told[0].startswith("1 pictures stand under more than one patient, by content")
        assert told[1].startswith("1 pictures stand under more than one label")
