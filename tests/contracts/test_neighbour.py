"""The privacy claim's core: one patient more or less in the folder moves a step's clipped sum by at most the clip."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from client.private_training import clipped_sum_for_step
from client.site import Site
from client.training_round import SitePatients
from deploy.federation import Federation, Recipe, accept_weights, build_workspace
from server.prepare import with_public_digests, with_teacher, with_warm_start
from shared.config import Method, StudyConfig, TrainableSet
from shared.config_files import parse_site, parse_study, read_yaml
from shared.models.trainable import trainable_names
from shared.privacy.noise import Coins
from shared.privacy.step_plan import step_plan
from shared.release_kinds import THIS_RUN_ALONE

KEY = bytes(range(32))
CLIP = 0.7
SITE = "film"
REMOVED = f"{SITE}-train-00001"


def study_of(method: Method) -> StudyConfig:
    return parse_study(
        {
            "name": "neighbours",
            "purpose": "test",
            "ethics_reference": "none",
            "expires": "2100-01-01",
            "task": {"classes": ["normal", "opacity"], "image_size": 32},
            "models": {"teacher": {"name": "resnet10t"}, "explainer": {"width": 16}},
            "distillation": {"method": method, "num_views": 3, "views_per_step": 2},
            "warm_start": {"epochs": 0},
            "privacy": {"sample_rate": 0.8, "max_grad_norm": CLIP, "noise_multiplier": 1.0},
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
    return path, recipe


def prepared(workspace: Path, recipe: Recipe, method: Method) -> StudyConfig:
    study = with_public_digests(study_of(method), workspace)
    study = with_teacher(
        study,
        workspace,
        recipe.federation.teacher_fit,
        seed=0,
        progress=lambda *_: None,
        teachers=workspace / "kept",
    )
    study = with_warm_start(study, workspace, seed=0, progress=lambda *_: None)
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


def without(site: Site, folder: Path) -> Site:
    """Copy the site's manifest without one patient, as if that patient had never been there."""
    with site.config.data.source.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    left = [row for row in rows if row["patient_id"] != REMOVED]
    assert 0 < len(left) < len(rows)
    manifest = folder / "without.csv"
    with manifest.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(left)
    config = site.config.model_copy(
        update={
            "data": site.config.data.model_copy(update={"source": manifest}),
            "state_dir": folder / "other-state",
        }
    )
    (folder / "other-state").mkdir(exist_ok=True)
    (folder / "other-state" / "site.key").write_bytes(site.key())
    return replace(site, config=config)


@pytest.mark.parametrize("method", get_args(Method))
def test_one_patient_moves_the_clipped_sum_by_at_most_the_clip(
    method: Method, workspace: tuple[Path, Recipe], tmp_path: Path
) -> None:
    """For every method and trainable set, removing a patient from the folder moves the sum by at most the clip."""
    path, recipe = workspace
    study = prepared(path, recipe, method)
    raw = read_yaml(path / "sites" / f"{SITE}.yaml") | {"state_dir": str(tmp_path / "state")}
    site = Site(parse_site(raw), THIS_RUN_ALONE)
    assert Coins(KEY).included(REMOVED, 0, study.privacy.sample_rate), (
        "the removed patient must be in the batch"
    )
    for which in get_args(TrainableSet):
        moved = float(
            (clipped_sum(site, study, which) - clipped_sum(without(site, tmp_path), study, which)).norm()
        )
        assert 0 < moved <= CLIP * (1 + 1e-4), (which, moved)
