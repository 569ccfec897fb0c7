"""The privacy claim's core: one patient more or less in the folder moves a step's clipped sum by at most the clip."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from client.dp_sgd.private_steps import clipped_sum_for_step
from client.readiness.site_check import check_site
from client.rounds.local_training import SitePatients
from client.site.site import Site
from deploy.simulation.simulated_hospitals import Federation, Recipe, accept_weights, build_workspace
from server.public_data.preparation import with_public_digests, with_teacher, with_warm_start
from shared.config.files import parse_site, parse_study, read_yaml
from shared.config.study import Method, StudentChoice, StudyConfig, TrainableSet
from shared.data.sources import read_source
from shared.errors import DataError
from shared.messages.release_kinds import THIS_RUN_ALONE
from shared.models.student import batch_norm_network
from shared.models.trainable import trainable_names
from shared.models.weights import file_sha256
from shared.privacy.noise import Coins
from shared.privacy.step_plan import step_plan
from tests.conftest import name_whole_paths

KEY = bytes(range(32))
CLIP = 0.7
SITE = "film"
REMOVED = f"{SITE}-train-00001"


def study_of(method: Method, published: Path | None = None) -> StudyConfig:
    """Return a study; with published weights its student is frozen."""
    student = {"normalisation": "frozen", "weights_sha256": file_sha256(published)} if published else {}
    return parse_study(
        {
            "name": "neighbours",
            "purpose": "test",
            "ethics_reference": "none",
            "expires": "2100-01-01",
            "task": {"classes": ["normal", "opacity"], "image_size": 32},
            "models": {
                "teacher": {"name": "resnet10t"},
                "explainer": {"width": 16},
                "student": student,
                "readout": {"stage": 3, "grid": 2},
            },
            "distillation": {"method": method, "num_views": 3, "views_per_step": 2},
            "warm_start": {"epochs": 0},
            "privacy": {
                "sample_rate": 0.8,
                "max_grad_norm": CLIP,
                "noise_multiplier": 1.0,
                "epsilon": 50.0,
            },
        }
    )


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Recipe]:
    federation = Federation.model_validate(
        {
            "title": "neighbours",
            "phantoms": {
                "public": {"style": "public", "train": 6},
                SITE: {"style": "film", "train": 6, "test": 8},
            },
            "public_site": "public",
            "declared_patients": {SITE: 6},
            "teacher_epochs": 1,
        }
    )
    recipe = Recipe("neighbours", study_of("rounds"), federation, None)
    path = tmp_path_factory.mktemp("neighbours")
    build_workspace(recipe, path, seed=3, progress=lambda *_: None)
    name_whole_paths(path / "manifests")
    return path, recipe


def prepared(
    workspace: Path, recipe: Recipe, method: Method = "rounds", published: Path | None = None
) -> StudyConfig:
    study = with_public_digests(study_of(method, published), workspace)
    study = with_teacher(
        study,
        workspace,
        recipe.federation.teacher_fit,
        seed=0,
        progress=lambda *_: None,
        teachers=workspace / "kept",
    )
    study = with_warm_start(study, workspace, seed=0, progress=lambda *_: None, student_file=published)
    accept_weights(workspace, study)
    return study


def clipped_sum(site: Site, study: StudyConfig, which: TrainableSet) -> torch.Tensor:
    """Go the whole path of one step from the folder: read, partition, targets, views, coins, gradients, clip."""
    compact, adapters = site.compact(study)
    patients = site.partitions(study)["train"]
    coins = Coins(KEY)
    with site.target_cache(study) as cache:
        sums = clipped_sum_for_step(
            compact,
            trainable_names(compact, which),
            step_plan(study, 1, site.config.declared_patients, patients_per_chunk=2),
            patient_ids=[patient.patient_id for patient in patients],
            coins=coins,
            source=SitePatients(patients, study, compact, adapters, cache, coins),
            step=0,
        )
    return torch.cat([sums[name].double().flatten() for name in sorted(sums)])


def opened(workspace: Path, state: Path, source: Path | None = None) -> Site:
    """Open the hospital with a key of its own that every run has, over its manifest or another source."""
    raw = read_yaml(workspace / "sites" / f"{SITE}.yaml") | {"state_dir": str(state)}
    raw["head_file"] = str(state / "the.head")
    if source is not None:
        raw["data"] = raw["data"] | {"source": str(source)}
    state.mkdir()
    (state / "site.key").write_bytes(KEY)
    return Site(parse_site(raw), THIS_RUN_ALONE)


def manifest_less(source: Path, folder: Path, gone: str) -> Path:
    """Copy a manifest without one patient, as if that patient had never been there."""
    rows = rows_of(source)
    left = [row for row in rows if row["patient_id"] != gone]
    assert 0 < len(left) < len(rows)
    return written(folder / "without.csv", left)


def tree_less(source: Path, folder: Path, gone: str) -> Path:
    """Copy a folder without one patient's files; its patients.csv, if it has one, forgets the patient too."""
    copy = folder / "without"
    shutil.copytree(source, copy, copy_function=os.link)
    if (source / "patients.csv").is_file():
        files = {row["file"] for row in rows_of(source / "patients.csv") if row["patient_id"] == gone}
        (copy / "patients.csv").unlink()  # a link to the original
        written(
            copy / "patients.csv", [r for r in rows_of(source / "patients.csv") if r["file"] not in files]
        )
    else:
        files = {path.relative_to(copy).as_posix() for path in copy.rglob(f"{Path(gone).name}.png")}
    assert files
    for name in files:
        (copy / name).unlink()
    return copy


def rows_of(table: Path) -> list[dict[str, Any]]:
    """Read a table."""
    with table.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def written(table: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a table."""
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return table


def unsplit_manifest(manifest: Path, folder: Path) -> Path:
    """Leave the split out, so that the HMAC under the site's key decides who trains."""
    rows = [row | {"split": ""} for row in rows_of(manifest)]
    return written(folder / "unsplit.csv", rows)


def class_folders(manifest: Path, folder: Path, *, named: bool) -> Path:
    """Lay the manifest's images out as <split>/<class>/*, with a patients.csv where patients are `named`."""
    tree, people = folder / "tree", []
    for number, row in enumerate(rows_of(manifest)):
        file = f"{row['split']}/{row['label']}/{number:03d}.png"
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(row["file"], tree / file)
        people.append({"file": file, "patient_id": row["patient_id"]})
    if named:
        written(tree / "patients.csv", people)
    return tree


Form = tuple[Callable[[Path, Path], Path], Callable[[Path, Path, str], Path]]
FORMS: dict[str, Form] = {
    "manifest without splits": (unsplit_manifest, manifest_less),
    "class folders with patients.csv": (lambda m, f: class_folders(m, f, named=True), tree_less),
    "class folders of images": (lambda m, f: class_folders(m, f, named=False), tree_less),
}


def sampled(site: Site, study: StudyConfig) -> str:
    """Name a training patient whose coin puts it into the batch."""
    train = site.partitions(study)["train"]
    return next(
        one.patient_id for one in train if Coins(KEY).included(one.patient_id, 0, study.privacy.sample_rate)
    )


def moved(site: Site, less: Site, study: StudyConfig, which: TrainableSet) -> float:
    """Say how far the clipped sum moves between two folders, every other patient's coins held fixed."""
    study = study.model_copy(update={"privacy": study.privacy.model_copy(update={"trainable": which})})
    return float((clipped_sum(site, study, which) - clipped_sum(less, study, which)).norm())


@pytest.mark.parametrize("method", get_args(Method))
def test_one_patient_moves_the_clipped_sum_by_at_most_the_clip(
    method: Method, workspace: tuple[Path, Recipe], tmp_path: Path
) -> None:
    """For every method and trainable set, removing a patient from the folder moves the sum by at most the clip."""
    path, recipe = workspace
    study = prepared(path, recipe, method)
    site = opened(path, tmp_path / "with")
    assert Coins(KEY).included(REMOVED, 0, study.privacy.sample_rate), (
        "the removed patient must be in the batch"
    )
    less = opened(path, tmp_path / "less", manifest_less(site.config.data.source, tmp_path, REMOVED))
    for which in get_args(TrainableSet):
        distance = moved(site, less, study, which)
        assert 0 < distance <= CLIP * (1 + 1e-4), (which, distance)


@pytest.mark.parametrize("form", FORMS)
def test_one_patient_of_any_form_of_data(form: str, workspace: tuple[Path, Recipe], tmp_path: Path) -> None:
    """The same holds where patients come from class folders, and where the site's key decides who trains."""
    path, recipe = workspace
    study = prepared(path, recipe)
    make, without = FORMS[form]
    source = make(path / "manifests" / f"{SITE}.csv", tmp_path)
    site = opened(path, tmp_path / "with", source)
    less = opened(path, tmp_path / "less", without(source, tmp_path, sampled(site, study)))
    assert 0 < moved(site, less, study, "scales") <= CLIP * (1 + 1e-4)


def test_one_patient_under_frozen_normalisation(workspace: tuple[Path, Recipe], tmp_path: Path) -> None:
    """The same holds for a student whose statistics are folded to constants."""
    path, recipe = workspace
    published = tmp_path / "init"
    torch.save({"state_dict": batch_norm_network(StudentChoice(), 2).state_dict()}, published)
    study = prepared(path, recipe, published=published)
    site = opened(path, tmp_path / "with")
    less = opened(path, tmp_path / "less", manifest_less(site.config.data.source, tmp_path, REMOVED))
    assert 0 < moved(site, less, study, "scales") <= CLIP * (1 + 1e-4)


@pytest.mark.parametrize("in_folder", [False, True])
def test_a_raw_npz_is_no_hospitals_source(
    in_folder: bool, workspace: tuple[Path, Recipe], tmp_path: Path
) -> None:
    """A raw .npz, whose rows depend on each other, is refused by the site, by its check and at enrolment."""
    path, recipe = workspace
    study = prepared(path, recipe)
    arrays: dict[str, np.ndarray] = {}
    (tmp_path / "data").mkdir()
    for split in ("train", "val", "test"):
        arrays[f"{split}_images"] = np.random.default_rng(0).integers(0, 256, (6, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.arange(6)[:, None] % 2
    np.savez(tmp_path / "data" / "a.npz", **arrays)
    source = tmp_path / "data" if in_folder else tmp_path / "data" / "a.npz"
    assert read_source(source, study.task), "what a simulation reads"
    site = opened(path, tmp_path / "state", source)
    with pytest.raises(DataError, match=r"raw MedMNIST \.npz.*write a manifest"):
        site.partitions(study)
    assert any(one.mark == "fail" and "raw MedMNIST .npz" in one.sentence for one in check_site(site, study))
    with pytest.raises(DataError, match=r"raw MedMNIST"):
        site.check_data(study)
