"""Rules of the synthetic chest X-rays."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploy.simulation.phantoms import CLASSES, STYLES, Marker, SitePlan, draw_patient, write_phantoms
from shared.config.study import Task
from shared.data.images import check_images
from shared.data.sources import read_source
from shared.errors import ConfigError

TASK = Task(classes=CLASSES, image_size=64)
PLAN = SitePlan("public", {"train": 6, "test": 2})


def test_a_written_folder_reads_back_with_its_truth(tmp_path: Path) -> None:
    """What is written is read by the ordinary reader: patients, splits, classes, masks, lesions."""
    seen: list[tuple[int, int]] = []
    manifest = write_phantoms(
        tmp_path, sites=[PLAN], seed=1, size=64, progress=lambda *counts: seen.append(counts)
    )
    patients = read_source(manifest, TASK)
    assert [p.split for p in patients] == ["test"] * 2 + ["train"] * 6
    assert sum(p.label for p in patients) == 4
    assert check_images(patients, TASK).kinds == {}
    assert all((r.lesion_mask is not None) == (r.label == 1) for p in patients for r in p.images)
    assert seen[-1] == (8, 8)


def test_a_patient_does_not_depend_on_how_many_there_are(tmp_path: Path) -> None:
    """Planning more patients or sites changes no byte of the pictures that were there before."""
    more = [replace(PLAN, num_patients={"train": 9, "test": 2}), SitePlan("other", {"train": 1})]
    write_phantoms(tmp_path / "few", sites=[PLAN], seed=1, size=32)
    write_phantoms(tmp_path / "many", sites=more, seed=1, size=32)
    with (tmp_path / "few/manifest.csv").open() as file:
        names = [row[column] for row in csv.DictReader(file) for column in ("file", "mask")]
    for name in names:
        assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "many" / name).read_bytes()


def test_processes_change_nothing(tmp_path: Path) -> None:
    """Two processes write the same manifest and the same bytes as one."""
    one = write_phantoms(tmp_path / "one", sites=[PLAN], seed=1, size=32)
    two = write_phantoms(tmp_path / "two", sites=[PLAN], seed=1, size=32, num_processes=2)
    assert one.read_bytes() == two.read_bytes()
    for file in (tmp_path / "one").rglob("*.png"):
        assert file.read_bytes() == (tmp_path / "two" / file.relative_to(tmp_path / "one")).read_bytes()


@pytest.mark.parametrize("style", STYLES)
def test_opacities_are_in_the_lungs_and_brighter_than_the_rest_of_them(style: str) -> None:
    """In every style an opacity lies inside the lungs and is on average brighter than the lung around it."""
    plan = SitePlan(style, {"train": 1}, STYLES[style], prevalence=1.0)
    differences = []
    for number in range(6):
        for picture in draw_patient(plan, "train", number, seed=2, size=64)[1]:
            assert picture.lesion.any()
            assert not (picture.lesion & ~picture.lungs).any()
            lung = picture.lungs & ~picture.lesion
            differences.append(picture.pixels[picture.lesion].mean() - picture.pixels[lung].mean())
    assert np.mean(differences) > 15


def test_lungs_are_two_and_darker_than_the_body() -> None:
    """The lung mask covers a plausible share of both halves and is darker than the tissue between."""
    for number in range(5):
        picture = draw_patient(PLAN, "train", number, seed=3, size=64)[1][0]
        assert 0.08 < picture.lungs[:, :32].mean() < 0.6
        assert 0.08 < picture.lungs[:, 32:].mean() < 0.6
        assert picture.pixels[picture.lungs].mean() < picture.pixels[24:48, 28:36].mean() - 20


def test_the_marker_goes_with_the_class_and_changes_nothing_else() -> None:
    """A marker given to one class alone is drawn for that class alone, over an otherwise equal picture."""
    marked = replace(PLAN, marker=Marker("AP", "top_right", {"opacity": 1.0}))
    for number in range(6):
        label, plain = draw_patient(PLAN, "train", number, seed=4, size=64)
        same_label, burned = draw_patient(marked, "train", number, seed=4, size=64)
        assert label == same_label
        for before, after in zip(plain, burned, strict=True):
            changed = before.pixels != after.pixels
            assert changed.any() == (label == "opacity")
            assert not changed[16:].any()
            assert not changed[:, :40].any()


def test_prevalence_is_kept() -> None:
    """A prevalence of 0.3 gives 3 patients with an opacity in each 10, whatever the seed."""
    plan = replace(PLAN, prevalence=0.3)
    labels = [draw_patient(plan, "train", number, seed=5, size=32)[0] for number in range(20)]
    assert labels.count("opacity") == 6


def test_pictures_of_a_patient_share_anatomy_but_differ() -> None:
    """Two pictures of one patient have nearly the same lungs and other pixels."""
    taken = [draw_patient(PLAN, "train", number, seed=6, size=64)[1] for number in range(12)]
    first, second = next(pictures for pictures in taken if len(pictures) > 1)[:2]
    assert (first.pixels != second.pixels).mean() > 0.5
    assert (first.lungs & second.lungs).sum() / (first.lungs | second.lungs).sum() > 0.7


def test_styles_differ_in_pixels_not_in_anatomy() -> None:
    """Each hospital's style moves the mean or the spread of grey well away from the public one."""
    greys = {
        name: np.stack(
            [
                draw_patient(SitePlan("x", {}, style), "train", number, seed=7, size=32)[1][0].pixels
                for number in range(10)
            ]
        )
        for name, style in STYLES.items()
    }
    public = greys.pop("public")
    for grey in greys.values():
        assert abs(grey.mean() - public.mean()) + abs(grey.std() - public.std()) > 10


@pytest.mark.parametrize(
    ("plan", "field"),
    [
        (SitePlan("a", {"train": 1}, prevalence=1.5), "prevalence"),
        (SitePlan("a", {"training": 1}), "num_patients"),
        (SitePlan("a", {"train": 1}, marker=Marker("Q")), "marker"),
    ],
)
def test_a_plan_without_sense_is_refused(tmp_path: Path, plan: SitePlan, field: str) -> None:
    """A wrong plan is refused with the field's name before anything is written."""
    with pytest.raises(ConfigError, match=field):
        write_phantoms(tmp_path, sites=[plan], seed=1, size=32)
    assert not list(tmp_path.iterdir())


def test_files_are_eight_bit_grey(tmp_path: Path) -> None:
    """Every file is an 8-bit grey PNG of the asked size; masks hold 0 and 255 only."""
    write_phantoms(tmp_path, sites=[SitePlan("a", {"train": 2})], seed=1, size=48)
    for file in tmp_path.rglob("*.png"):
        with Image.open(file) as image:
            assert (image.mode, image.size) == ("L", (48, 48))
            if "a/" not in file.relative_to(tmp_path).as_posix()[:2]:
                assert set(np.unique(np.asarray(image))) <= {0, 255}
