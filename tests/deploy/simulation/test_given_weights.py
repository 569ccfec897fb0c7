"""Weights that a person gives: a workspace is kept, and is never the one of another teacher."""

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from deploy.simulation.program import keep_teacher
from deploy.simulation.simulated_hospitals import Federation, Recipe
from deploy.simulation.terminal_progress import Progress
from deploy.simulation.workspace import prepare
from shared.config.files import parse_study
from shared.errors import ConfigError, WeightsError
from shared.models.teacher import build_teacher
from shared.models.weights import file_sha256, save_weights
from tests.conftest import STUDY

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recipe:
    """Return a recipe that is prepared in seconds, below a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("deploy.simulation.workspace.use_all_threads", lambda: torch.set_num_threads(1))
    hospitals = {
        "title": "tiny",
        "phantoms": {
            "public": {"style": "public", "train": 12},
            "film": {"style": "film", "train": 4, "test": 4},
        },
        "public_site": "public",
        "declared_patients": {"film": 4},
        "teacher_epochs": 1,
    }
    study = parse_study(STUDY | {"warm_start": {"epochs": 0}})
    return Recipe("tiny", study, Federation.model_validate(hospitals), None)


@pytest.fixture
def teacher_file(tmp_path: Path) -> Path:
    """Return a teacher that nobody here has fitted."""
    save_weights(build_teacher("resnet10t", 2, 32, seed=8).network.state_dict(), tmp_path / "own.safetensors")
    return tmp_path / "own.safetensors"


def naming(recipe: Recipe, digest: str) -> Recipe:
    """Return the recipe with its teacher named by digest."""
    raw = recipe.study.model_dump(mode="json")
    raw["models"]["teacher"]["sha256"] = digest
    return Recipe(recipe.name, parse_study(raw), recipe.federation, None)


def test_a_kept_workspace_is_that_of_its_teacher(recipe: Recipe, teacher_file: Path) -> None:
    """Another teacher file gives another workspace, a missing one an error; the same one is prepared once."""
    fitted = prepare(recipe, 0, Progress())
    given = prepare(recipe, 0, Progress(), teacher_file=teacher_file)
    assert given.study.models.teacher.sha256 == file_sha256(teacher_file)
    assert given.study.models.teacher.sha256 != fitted.study.models.teacher.sha256
    assert prepare(recipe, 0, Progress(), teacher_file=teacher_file) == given
    assert prepare(recipe, 0, Progress()) == fitted
    with pytest.raises(WeightsError, match=r"^gone: cannot be read; check that the file exists$"):
        prepare(recipe, 0, Progress(), teacher_file=Path("gone"))


def test_a_named_teacher_is_refused_before_anything_is_made(recipe: Recipe, teacher_file: Path) -> None:
    """A study that names a teacher that is not here, or is not the given file, makes no workspace."""
    for file in (None, teacher_file):
        with pytest.raises(ConfigError, match=r"^models\.teacher\.sha256 is '0000"):
            prepare(naming(recipe, "0" * 64), 0, Progress(), teacher_file=file)
    assert not Path("results").exists()


def test_a_teacher_that_was_kept_needs_no_file(recipe: Recipe, teacher_file: Path) -> None:
    """After `make teacher TEACHER=file` a study finds it by its digest; the same study with the file is the same."""
    digest = keep_teacher(recipe.study, teacher_file)
    named = naming(recipe, digest)
    workspace = prepare(named, 0, Progress())
    assert workspace.study.models.teacher.sha256 == digest == file_sha256(teacher_file)
    assert prepare(named, 0, Progress(), teacher_file=teacher_file) == workspace


def test_a_teacher_of_other_classes_is_not_kept(recipe: Recipe, tmp_path: Path) -> None:
    """`make teacher TEACHER=file` refuses a file that does not fit the study."""
    save_weights(build_teacher("resnet10t", 3, 32).network.state_dict(), tmp_path / "own.safetensors")
    with pytest.raises(ConfigError, match="for 3 classes"):
        keep_teacher(recipe.study, tmp_path / "own.safetensors")
    assert not Path("results").exists()


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("target", ["demo", "prepare", "teacher", "compare"])
def test_make_hands_the_teacher_on(target: str) -> None:
    """`TEACHER=` of make reaches each command that prepares a study."""
    command = ["make", "-n", target, "TEACHER=own.safetensors"]
    shown = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert f"deploy.simulation.program {target} --teacher-file own.safetensors" in " ".join(shown.split())
