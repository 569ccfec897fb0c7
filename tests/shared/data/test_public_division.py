"""Rules of dividing patients and of manifests that are written."""

import shutil
from pathlib import Path

import pytest

from deploy.simulation.phantoms import CLASSES, SitePlan, write_phantoms
from shared.config.study import Task
from shared.data.patients import ImageRecord, Patient
from shared.data.public_division import divide_public, manifest_digest, patient_overlap, write_manifest
from shared.data.sources import patients_by_site, read_source
from shared.errors import DataError

TASK = Task(classes=CLASSES, image_size=32)


def patients(site: str, **num: int) -> list[Patient]:
    """Patients of one site without files: `train=3` and so on; `none` for those without a split."""
    return [
        Patient(name, (ImageRecord(Path("x"), 0, site, name, split.replace("none", ""), None),))
        for split, count in num.items()
        for name in (f"{site}-{split}-{i}" for i in range(count))
    ]


def by_site(num_train: int = 200) -> dict[str, list[Patient]]:
    """Return three sites."""
    return {site: patients(site, train=num_train, val=10, test=100) for site in ("a", "b", "c")}


def test_a_fraction_of_each_sites_train_patients_becomes_the_cohort() -> None:
    """About the declared fraction of every site's train patients leaves it; val stays; test is halved."""
    found = divide_public(by_site(), cohort_fraction=0.3, public_site=None)
    for site in ("a", "b", "c"):
        assert 40 <= sum(p.site == site for p in found.cohort) <= 80
        assert {p.split for p in found.sites[site]} == {"train", "val"}
        assert sum(p.split == "val" for p in found.sites[site]) == 10
    assert {p.split for p in found.cohort} == {"train"}
    assert {p.split for p in found.reference + found.test} == {"test"}
    assert len(found.reference) + len(found.test) == 300
    assert 120 <= len(found.test) <= 180


def test_the_cohort_is_the_declared_share() -> None:
    """Of 6,000 train patients 30 % are 1,800; five standard deviations of chance are 178, a fifth more is 2,160."""
    found = divide_public(by_site(2000), cohort_fraction=0.3, public_site=None)
    assert 1622 <= len(found.cohort) <= 1978
    assert 3 * 0.5 * 100 - 44 <= len(found.reference) <= 3 * 0.5 * 100 + 44


def test_a_public_site_is_the_cohort_and_no_site() -> None:
    """With a public site its train patients are the cohort and the other sites keep all of theirs."""
    found = divide_public(by_site(), cohort_fraction=0.3, public_site="b")
    assert [p.patient_id for p in found.cohort] == [p.patient_id for p in by_site()["b"][:200]]
    assert list(found.sites) == ["a", "c"]
    assert all(len(kept) == 210 for kept in found.sites.values())


def test_no_patient_is_in_two_sets() -> None:
    """Cohort, reference, test and sites share nobody, and together hold everybody."""
    found = divide_public(by_site(), cohort_fraction=0.5, public_site=None)
    sets = [found.cohort, found.reference, found.test, *found.sites.values()]
    assert patient_overlap(*sets) == 0
    assert sum(map(len, sets)) == 3 * 310


def test_removing_a_patient_moves_no_other() -> None:
    """Without one patient every other one is in the set it was in before."""
    sites = by_site(30)
    before = divide_public(sites, cohort_fraction=0.4, public_site=None)
    gone = sites["a"].pop(4)
    after = divide_public(sites, cohort_fraction=0.4, public_site=None)
    for name in ("cohort", "test", "reference"):
        assert getattr(after, name) == [p for p in getattr(before, name) if p != gone]
    assert after.sites == {site: [p for p in old if p != gone] for site, old in before.sites.items()}


def test_patients_without_a_split_get_one_by_hash() -> None:
    """A source without splits is divided about 70 / 10 / 20, and the split stands in the records."""
    found = divide_public({"a": patients("a", none=1000)}, cohort_fraction=0.0, public_site=None)
    assert 640 <= sum(p.split == "train" for p in found.sites["a"]) <= 760
    assert 70 <= sum(p.split == "val" for p in found.sites["a"]) <= 130
    assert {p.split for p in found.test} == {"test"}


def test_an_identifier_used_at_two_sites_is_refused_and_counted() -> None:
    """Two sites with the same identifiers put one name in two sets: refused without naming."""
    same = patients("a", train=5)
    with pytest.raises(DataError, match="more than one set for 5 patients"):
        divide_public({"a": same, "b": same}, cohort_fraction=0.0, public_site=None)
    assert patient_overlap(same, same[:2]) == 2


@pytest.mark.parametrize(
    ("fraction", "site", "sentence"),
    [(1.5, None, "cohort_fraction is 1.5"), (0.1, "z", "public_site is 'z'")],
)
def test_wrong_settings_are_refused(fraction: float, site: str | None, sentence: str) -> None:
    """A fraction beyond 1 or an unknown public site is refused."""
    with pytest.raises(DataError, match=sentence):
        divide_public(by_site(1), cohort_fraction=fraction, public_site=site)


def test_a_written_manifest_reads_back_the_same(tmp_path: Path) -> None:
    """Patients written to a manifest anywhere else are read back equal, masks and splits included."""
    source = write_phantoms(tmp_path / "p", sites=[SitePlan("a", {"train": 4})], seed=1, size=32)
    found = read_source(source, TASK)
    write_manifest(found, tmp_path / "elsewhere" / "m.csv", TASK)
    assert read_source(tmp_path / "elsewhere" / "m.csv", TASK) == found


def test_the_digest_follows_content_not_place(tmp_path: Path) -> None:
    """The digest stays when folder and row order change, and changes with one pixel, label or identifier."""
    source = write_phantoms(tmp_path / "p", sites=[SitePlan("a", {"train": 4})], seed=1, size=32)
    digest = manifest_digest(source)
    found = read_source(source, TASK)
    write_manifest(found[::-1], tmp_path / "m.csv", TASK)
    assert manifest_digest(tmp_path / "m.csv") == digest
    shutil.move(tmp_path / "p", tmp_path / "q")
    moved = tmp_path / "q" / "manifest.csv"
    assert manifest_digest(moved) == digest
    text = moved.read_text()
    moved.write_text(text.replace(",a-train-00001,", ",someone,"))
    assert manifest_digest(moved) != digest
    moved.write_text(text)
    image = next((tmp_path / "q" / "a" / "normal").iterdir())
    image.write_bytes(image.read_bytes() + b"\0")
    assert manifest_digest(moved) != digest


def test_sites_of_a_division_are_ready_for_one_manifest_each(tmp_path: Path) -> None:
    """A site's share written as a manifest is read back as that site alone."""
    plans = [SitePlan(name, {"train": 4, "test": 2}) for name in ("a", "b")]
    source = write_phantoms(tmp_path, sites=plans, seed=1, size=32)
    sites = patients_by_site(read_source(source, TASK))
    division = divide_public(sites, cohort_fraction=0.25, public_site=None)
    write_manifest(division.sites["b"], tmp_path / "b.csv", TASK)
    assert read_source(tmp_path / "b.csv", TASK, site="b") == division.sites["b"]
