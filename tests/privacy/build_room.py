"""Makes the hospitals that are attacked: phantoms, a teacher, and a warm start for each method; once, in seconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from deploy.simulation.phantoms import STYLES, SitePlan, write_phantoms
from deploy.simulation.simulated_hospitals import Federation, Recipe, accept_weights, build_workspace
from server.public_data.preparation import with_public_digests, with_teacher, with_warm_start
from shared.config.files import parse_study, read_yaml
from shared.models.initial import unpack_initial
from shared.models.weights import find_weights, load_weights
from tests.privacy.crafted import flat_biases
from tests.privacy.room import DISAGREES, ONE_IMAGE, PATIENTS, SITE, rows_of, write_rows

RAW: dict[str, Any] = {
    "name": "attacked",
    "purpose": "attack the privacy claim",
    "ethics_reference": "none needed",
    "expires": "2100-01-01",
    "task": {"classes": ["normal", "opacity"], "positive": "opacity", "image_size": 32},
    "models": {
        "teacher": {"name": "resnet10t"},
        "student": {"architecture": {"kernels": (3,) * 20, "expand_ratios": (3,) * 20, "depths": (2,) * 5}},
        "explainer": {"width": 4},
    },
    "warm_start": {"epochs": 1, "batch_size": 8},
    "privacy": {"noise_multiplier": 4.0, "sample_rate": 1.0, "max_grad_norm": 1.0},
    "federation": {"rounds": 8, "steps": 1, "learning_rate": 0.1, "quorum": 1, "min_sites": 1},
}
METHODS = {  # each with its own warm start: the student's, adapters and explainer of one objective
    "supervised": {"method": "supervised", "num_views": 2, "views_per_step": 2},
    "rounds": {"method": "rounds", "num_views": 2, "views_per_step": 1},
}


def build(folder: Path) -> None:
    """Make phantoms, workspace, teacher and a warm start for each method."""
    plans = [
        SitePlan(SITE, {"train": PATIENTS, "val": 4, "test": 2}, STYLES[SITE], max_images=2),
        SitePlan("public", {"train": 16}, STYLES["public"], max_images=1),
    ]
    source = write_phantoms(folder / "data", sites=plans, seed=0, size=32)
    _regroup(source if source.is_file() else source / "manifest.csv")
    federation = Federation(
        title="attacked", public_site="public", declared_patients={SITE: PATIENTS}, teacher_epochs=1
    )
    study = parse_study(RAW)
    build_workspace(Recipe("attacked", study, federation, source), folder, seed=0, progress=_quiet)
    (folder / "studies").mkdir()
    accepted: dict[str, str] = {}
    for name, distillation in METHODS.items():
        one = with_public_digests(parse_study(RAW | {"distillation": distillation}), folder)
        one = with_teacher(
            one, folder, federation.teacher_fit, seed=0, progress=_quiet, teachers=folder / "kept"
        )
        one = with_warm_start(one, folder, seed=0, progress=_quiet)
        accept_weights(folder, one)
        if name == "supervised":
            path = find_weights(folder / "weights", one.models.initial_sha256)
            compact, _ = unpack_initial(one, load_weights(path, one.models.initial_sha256))
            np.save(folder / "flat_biases.npy", flat_biases(compact.student))
        accepted |= read_yaml(folder / "sites" / f"{SITE}.yaml")["accepted_digests"]
        (folder / "studies" / f"{name}.json").write_text(one.canonical_json(), encoding="utf-8")
    (folder / "accepted.json").write_text(json.dumps(accepted), encoding="utf-8")


def _regroup(manifest: Path) -> None:
    """Give one patient two images of two classes, and the next one image only."""
    rows = rows_of(manifest)
    mine = [row for row in rows if row["patient_id"] == DISAGREES]
    other = next(
        row
        for row in rows
        if row["site"] == SITE and row["split"] == "test" and row["label"] != mine[0]["label"]
    )
    second = other | {"patient_id": DISAGREES, "split": "train"}
    single = next(row for row in rows if row["patient_id"] == ONE_IMAGE)
    kept = [row for row in rows if row["patient_id"] not in {DISAGREES, ONE_IMAGE} and row is not other]
    write_rows(manifest, [mine[0], second, single, *kept])


def _quiet(_what: str, _done: int, _total: int) -> None:
    """Show no progress."""
