"""The smallest demo: three made hospitals of a few patients at 32 px, one round; for tests that start real ones."""

import os
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import STUDY

REPOSITORY = Path(__file__).resolve().parents[2]
HOSPITALS = ("bedside", "children", "film")
BUDGETS = (2.0, 8.0)
FILED = 5.0  # the budget in the study's file


def small_study(folder: Path, **groups: dict[str, Any]) -> None:
    """Write study.yaml and sites.yaml; `groups` changes fields of the study's groups."""
    raw = STUDY | {
        "privacy": {"epsilon": FILED, "delta": 1e-5, "sample_rate": 0.5},
        "federation": {"rounds": 1, "steps": 2, "learning_rate": 0.1, "quorum": 2, "min_sites": 3},
        "audit": {"num_images": 4, "min_auc": 0.5},
    }
    study = {
        key: value | groups.get(key, {}) if isinstance(value, dict) else value for key, value in raw.items()
    }
    architecture = {
        name: list(numbers) for name, numbers in study["models"]["student"]["architecture"].items()
    }
    study["models"] = study["models"] | {"student": {"architecture": architecture}}
    sizes = {"train": 12, "val": 2, "test": 8}
    sites = {
        "title": "tiny phantoms",
        "phantoms": {"public": {"style": "public", "train": 24, "max_images": 1}}
        | {name: {"style": name} | sizes for name in HOSPITALS},
        "public_site": "public",
        "declared_patients": dict.fromkeys(HOSPITALS, 12),
        "teacher_epochs": 1,
    }
    for name, content in (("study", study), ("sites", sites)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def demo_words(command: str) -> list[str]:
    """Return the command line of a demo or of a part of it."""
    return [
        sys.executable,
        "-m",
        "deploy.simulation.program",
        command,
        "--study",
        "study.yaml",
        "--sites",
        "sites.yaml",
    ]


def demo_environment(**changed: str) -> dict[str, str]:
    """Return the environment for a demo started anywhere, with one thread."""
    return (
        os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"} | changed
    )
