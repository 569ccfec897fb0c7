"""A manifest that was written beside its files is read where both were moved to."""

import shutil
from pathlib import Path

from deploy.simulation.phantoms import STYLES, SitePlan, write_phantoms
from shared.config.study import Task
from shared.data.sources import read_source
from shared.data.tables.manifest import write_manifest

TASK = Task(classes=["normal", "opacity"], positive="opacity", image_size=32)


def test_a_moved_workspace_is_read_where_it_is(tmp_path: Path) -> None:
    """Images and masks of a workspace that was mounted elsewhere, as the hub's container does, are those beside it."""
    plan = SitePlan("public", {"train": 2}, STYLES["public"], max_images=1)
    source = write_phantoms(tmp_path / "made" / "data", sites=[plan], seed=0, size=32)
    write_manifest(read_source(source, TASK), tmp_path / "made" / "public" / "cohort.csv", TASK)
    shutil.move(tmp_path / "made", tmp_path / "moved")
    found = [
        one
        for patient in read_source(tmp_path / "moved" / "public" / "cohort.csv", TASK)
        for one in patient.images
    ]
    assert len(found) == 2
    for one in found:
        assert one.file.is_relative_to(tmp_path / "moved" / "data" / "public")
        assert one.file.is_file()
        assert one.mask is not None
        assert one.mask.is_file()


def test_a_file_of_the_same_name_beside_the_manifest_is_not_taken(tmp_path: Path) -> None:
    """Where a shortened path would be read from another place, the whole path is written."""
    plan = SitePlan("public", {"train": 1}, STYLES["public"], max_images=1)
    source = write_phantoms(tmp_path / "data", sites=[plan], seed=0, size=32)
    shutil.copytree(tmp_path / "data", tmp_path / "public" / "data")
    patients = read_source(source, TASK)
    write_manifest(patients, tmp_path / "public" / "cohort.csv", TASK)
    assert [one.images for one in read_source(tmp_path / "public" / "cohort.csv", TASK)] == [
        one.images for one in patients
    ]
