"""What is written after the rounds: a summary and a report in every case, and a reason where nothing was judged."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server.app import initial_state
from server.evaluation.finish_run import finish_run
from server.evaluation.run_records import About, recorded_summary
from server.public_data.preparation import public_sets
from server.report.sentences import headline
from server.rounds.round_score import round_score
from server.runs.checkpoints import StudyState, save_state
from server.runs.run_folder import RunFolder
from server.runs.summary import Summary, read_summary
from shared.config.files import write_yaml
from shared.config.study import StudyConfig
from shared.models.arrays import Arrays
from shared.models.initial import unpack_initial


def ended(federation: Any, weights: Arrays, path: Path) -> RunFolder:
    """Return the folder of a run whose rounds ended with these weights."""
    folder = RunFolder(path)
    folder.path.mkdir()
    write_yaml(folder.study, federation.study)
    save_state(StudyState(federation.study.digest(), weights, rounds_done=2), folder.checkpoint)
    folder.record_event("study_completed", rounds=2)
    return folder


def finished(folder: RunFolder, workspace: Path) -> Summary:
    """Finish the run; what was written is what is returned, with a report beside it."""
    summary = finish_run(folder, workspace, About("made", "tiny"), lambda *_: None)
    assert read_summary(folder.path) == summary
    assert (folder.path / "report.html").stat().st_size > 10_000
    assert (folder.path / "model_card.md").stat().st_size > 1000
    return summary


@pytest.fixture
def workspace(tiny_federation, tmp_path: Path) -> Path:
    """Return a copy of the workspace: predictions are kept in it, and some of it is spoilt."""
    shutil.copytree(tiny_federation.workspace, tmp_path / "workspace")
    return tmp_path / "workspace"


def lose(workspace: Path, study: StudyConfig, name: str, column: str) -> None:
    """Let a public set's manifest name a file that does not exist."""
    manifest = workspace / "public" / f"{name}.csv"
    file = str(getattr(public_sets(workspace, study)[name][0].images[0], column))
    manifest.write_text(manifest.read_text().replace(file, f"{file}.gone", 1))


def test_an_audit_that_fails_leaves_a_report(tiny_federation, tmp_path: Path, workspace: Path) -> None:
    """A lost reference mask costs the verdict and says so; what was measured before it is there."""
    lose(workspace, tiny_federation.study, "reference", "mask")
    folder = ended(tiny_federation, tiny_federation.initial, tmp_path / "run")
    summary = finished(folder, workspace)
    assert (summary.status, summary.verdict) == ("completed", "none")
    assert "mask" in summary.reasons[0]
    assert "does not exist; restore it" in headline(summary)
    assert summary.metrics.federated_private is not None
    assert not list(folder.path.glob("*student*")) + list(folder.path.glob("candidate*"))


def test_figures_that_fail_leave_a_report(tiny_federation, tmp_path: Path, workspace: Path) -> None:
    """A lost test image costs figures and verdict, and the report says why."""
    lose(workspace, tiny_federation.study, "test", "file")
    summary = finished(ended(tiny_federation, tiny_federation.initial, tmp_path / "run"), workspace)
    assert (summary.status, summary.verdict) == ("completed", "none")
    assert "cannot be read; restore it" in headline(summary)


def spoilt(weights: Arrays) -> Arrays:
    """Return the weights as numbers that are none."""
    return {name: np.full_like(array, np.nan) for name, array in weights.items()}


def test_a_student_that_is_not_finite_is_held(tiny_federation, tmp_path: Path, workspace: Path) -> None:
    """Weights that are no numbers end in the verdict held for finite numbers; the baselines keep their figures."""
    folder = ended(tiny_federation, spoilt(tiny_federation.initial), tmp_path / "run")
    for number, value in enumerate((0.6, 0.7, None)):
        folder.record_round({"round": number, "test": {"auc": {"value": value}, "mask_area": value}})
    summary = finished(folder, workspace)
    assert (summary.status, summary.verdict) == ("completed", "held")
    assert summary.reasons[0] == "finite numbers"
    assert "test predictions that are not finite" in summary.gate.checks[0].sentence
    assert "not all finite" in summary.gate.checks[1].sentence
    assert summary.metrics.federated_private is None
    assert summary.metrics.warm_start is not None
    assert (folder.path / "candidate.safetensors").is_file()


def test_a_round_of_a_student_that_is_not_finite_is_scored(
    tiny_federation, workspace: Path, tmp_path: Path
) -> None:
    """Such a student has no AUC, with the reason, in rounds.jsonl and in the round that is read from it."""
    study = tiny_federation.study
    compact, _ = unpack_initial(study, initial_state(workspace, study))
    scored = round_score(workspace, study, compact)(spoilt(tiny_federation.initial))
    assert scored["auc"]["value"] is None
    assert "not all finite" in scored["auc"]["reason"]
    folder = ended(tiny_federation, tiny_federation.initial, tmp_path / "run")
    folder.record_round({"round": 2, "test": scored})
    (told,) = recorded_summary(folder, study, None, About("made", "tiny"), completed=True).rounds
    assert (told.test_auc.value, told.mask_area) == (None, None)
