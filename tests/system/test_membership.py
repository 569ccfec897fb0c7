"""The measurement as a process of its own, on a miniature: real runs by Flower, real reference students, a report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.metrics.membership_result import Membership
from server.store.intake.outbox import Outbox
from tests.system.test_compare import HOSPITALS, SITES, STUDY

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 280  # of one call
PATIENTS: dict[str, Any] = {"train": 8, "val": 2, "test": 14}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Measure once, and once more; return the folder that both ran in."""
    path = tmp_path_factory.mktemp("membership")
    federation = {"rounds": 1, "steps": 2, "learning_rate": 0.1, "quorum": 2, "min_sites": 3}
    phantoms: dict[str, dict[str, Any]] = {"public": {"style": "public", "train": 24}}
    phantoms |= {site: {"style": site} | PATIENTS for site in SITES}
    declared = dict.fromkeys(SITES, 8)
    hospitals = HOSPITALS | {"phantoms": phantoms, "declared_patients": declared, "reference_fraction": 0.1}
    (path / "study.yaml").write_text(yaml.safe_dump(STUDY | {"federation": federation}))
    (path / "sites.yaml").write_text(yaml.safe_dump(hospitals))
    for attempt in ("first", "second"):
        done = subprocess.run(
            [sys.executable, "-m", "deploy.simulation.program", "membership",
             "--study", "study.yaml", "--sites", "sites.yaml",
             "--references", "2", "--patients", "8"],
            cwd=path,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        (path / f"{attempt}.log").write_text(done.stdout)
    return path


def test_every_student_is_attacked_and_few_patients_are_said_to_be_few(folder: Path) -> None:
    """All six students, three attacks each; with 24 patients of either kind no number stands at 1 %."""
    text = (folder / "results" / "latest" / "membership.json").read_text()
    found = Membership.model_validate_json(text)
    assert [one.model for one in found.models] == [
        "released", "other_patients", "without_privacy", "other_patients_without_privacy", "warm_start", "memorised",
    ]  # fmt: skip
    for model in found.models:
        assert [one.attack for one in model.attacks] == ["loss", "lira", "rmia"]
        for one in model.attacks:
            assert (one.num_members, one.num_non_members, one.level) == (24, 24, 0.05)
            assert one.reason == "too few non-members for 1 %: 24, at least 100 are needed"
    said = (folder / "first.log").read_text()
    assert "Who trained it?" in said
    assert "students trained and asked: 10 of 10" in said


def test_figures_go_into_report_and_records_and_stay_there(folder: Path) -> None:
    """The report names the state; the outbox has the document as it is, once, also after measuring again."""
    run = folder / "results" / "latest"
    assert "<dt>membership inference</dt><dd>not measured at 1 %</dd>" in (run / "report.html").read_text()
    summary = json.loads((run / "summary.json").read_text())
    bodies = [json.loads(body) for body in Outbox(run).bodies(summary["study"]["uid"], ["document"])]
    told = [body["document"] for body in bodies if body["name"] == "membership"]
    assert told[-1] == summary["membership"] == json.loads((run / "membership.json").read_text())


def test_what_was_trained_is_not_trained_again(folder: Path) -> None:
    """The second call attacks what the first one kept."""
    assert "students trained and asked" not in (folder / "second.log").read_text()
