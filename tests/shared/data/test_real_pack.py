"""What the real image pack must give; skipped, with the reason, where the pack is absent."""

import os
from pathlib import Path

import numpy as np
import pytest

from shared.config.study import Task
from shared.data.images import check_images, load_mask, load_pixels
from shared.data.public_division import divide_public, patient_overlap
from shared.data.sources import patients_by_site, read_source

PACK = Path(os.environ.get("ROUNDS_DATA", Path(__file__).parents[4] / "shared" / "data"))
CXR = Task(classes=("normal", "pneumonia"), image_size=64)
FUNDUS = Task(classes=("no_dr", "dr_mild_moderate", "dr_severe_pdr"), image_size=128, crop="field_of_view")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not (PACK / "cxr" / "manifest.csv").is_file(),
        reason="the real image pack is not at ROUNDS_DATA (default ../shared/data)",
    ),
]


def test_the_chest_x_rays_are_as_counted_in_their_readme() -> None:
    """Without COVID: 450 images of 450 patients at 3 sites, all readable, 430 lung masks that all fit."""
    patients = read_source(PACK / "cxr" / "manifest.csv", CXR, label_map={"covid19": ""})
    sites = patients_by_site(patients)
    assert {site: len(found) for site, found in sites.items()} == {
        "guangzhou_wcmc": 232, "nih_cc_ap": 112, "nih_cc_pa": 106,
    }  # fmt: skip
    problems = check_images(patients, CXR)
    assert (problems.num_images, problems.kinds) == (450, {})
    assert sum(record.mask is not None for p in patients for record in p.images) == 430


def test_lungs_are_darker_than_the_rest_of_the_chest_between_them() -> None:
    """Under its mask a real lung is on average darker than outside: image and mask lie on each other."""
    patients = read_source(PACK / "cxr" / "manifest.csv", CXR, label_map={"covid19": ""})
    darker = []
    for patient in patients[::20]:
        mask = load_mask(patient.images[0], CXR)
        if mask is not None:
            grey = load_pixels(patient.images[0], CXR)[..., 0]
            darker.append(grey[mask].mean() < grey[20:44, 24:40][~mask[20:44, 24:40]].mean())
    assert np.mean(darker) > 0.85


def test_covid_is_one_hospitals_and_patients_have_several_images() -> None:
    """With COVID there are 55 patients with 118 images, all at hannover_mhh."""
    task = CXR.model_copy(update={"classes": ("normal", "pneumonia", "covid19")})
    covid = [p for p in read_source(PACK / "cxr", task) if p.label == 2]
    assert {p.site for p in covid} == {"hannover_mhh"}
    assert (len(covid), sum(len(p.images) for p in covid)) == (55, 118)


def test_the_fundus_pack_reads_and_its_discs_fill_the_square() -> None:
    """415 images; after the crop the middle row is lit from near border to near border."""
    patients = read_source(PACK / "fundus" / "manifest.csv", FUNDUS)
    assert sum(len(p.images) for p in patients) == 415
    assert check_images(patients[::6], FUNDUS).kinds == {}
    for patient in patients[::40]:
        row = load_pixels(patient.images[0], FUNDUS)[64].max(axis=1)
        assert row[:10].max() > 30
        assert row[-10:].max() > 30


def test_the_division_of_the_real_pack_shares_nobody() -> None:
    """Cohort, reference, test and the three hospitals are disjoint and hold all 450 patients."""
    patients = read_source(PACK / "cxr" / "manifest.csv", CXR, label_map={"covid19": ""})
    found = divide_public(patients_by_site(patients), cohort_fraction=0.3, public_site=None)
    sets = [found.cohort, found.reference, found.test, *found.sites.values()]
    assert patient_overlap(*sets) == 0
    assert sum(map(len, sets)) == 450


def test_pneumoniamnist_drops_its_known_repeats() -> None:
    """Of 5,856 images 26 train ones go: 18 repeats and 8 that also stand in val."""
    patients = read_source(PACK / "pneumoniamnist" / "pneumoniamnist.npz", CXR)
    counts = {split: sum(p.split == split for p in patients) for split in ("train", "val", "test")}
    assert counts == {"train": 4708 - 26, "val": 524, "test": 624}
    assert load_pixels(patients[0].images[0], CXR).shape == (64, 64, 3)
