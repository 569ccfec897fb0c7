"""A prepared workspace is used again only while preparing it anew would give the same."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.simulation import phantoms
from deploy.simulation.phantoms import STYLES
from deploy.simulation.simulated_hospitals import Recipe, find_recipe
from deploy.simulation.workspace import new_run_folder, workspace_name
from shared.config.files import overridden, parse_study


@pytest.fixture
def recipe() -> Recipe:
    """Return the demo's recipe."""
    return find_recipe(None, None, None)


def with_study(recipe: Recipe, **fields: Any) -> Recipe:
    raw = recipe.study.model_dump(mode="json")
    return replace(
        recipe, study=parse_study(overridden(raw, {k.replace("__", "."): v for k, v in fields.items()}))
    )


def brighter(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change a style by as little as a person would."""
    monkeypatch.setitem(STYLES, style, replace(STYLES[style], brightness=STYLES[style].brightness + 0.001))


def test_the_same_recipe_has_the_same_name(recipe: Recipe) -> None:
    """Asked again it is the same, with its seed; rounds, budgets and limits do not matter."""
    name = workspace_name(recipe, 3)
    assert name.endswith("-s3")
    assert workspace_name(find_recipe(None, None, None), 3) == name
    assert workspace_name(with_study(recipe, federation__rounds=9, privacy__epsilon=2.0), 3) == name


@pytest.mark.parametrize("style", ["public", "film"])
def test_another_style_has_another_name(recipe: Recipe, style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed style of one hospital, or of the public pictures, prepares anew."""
    before = workspace_name(recipe, 0)
    brighter(style, monkeypatch)
    assert workspace_name(recipe, 0) != before


def test_a_style_that_nobody_has_does_not_matter(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only styles of the recipe's own hospitals are drawn."""
    made = {name: one for name, one in recipe.federation.phantoms.items() if one.style != "film"}
    without = replace(recipe, federation=recipe.federation.model_copy(update={"phantoms": made}))
    before = workspace_name(without, 0)
    brighter("film", monkeypatch)
    assert workspace_name(without, 0) == before


@pytest.mark.parametrize("what", ["draw_attenuation", "draw_opacities", "_expose"])
def test_another_drawing_has_another_name(recipe: Recipe, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change to the anatomy, to opacities or to the exposure is seen in the pictures themselves."""
    before = workspace_name(recipe, 0)
    drawn: Callable[..., Any] = getattr(phantoms, what)
    change: dict[str, Callable[..., Any]] = {
        "draw_attenuation": lambda *given: (drawn(*given)[0] * 0.98, *drawn(*given)[1:]),
        "draw_opacities": lambda *given: drawn(*given)[:-1],
        "_expose": lambda *given: drawn(*given) * 0.98,
    }
    monkeypatch.setattr(phantoms, what, change[what])
    assert workspace_name(recipe, 0) != before


def test_own_data_has_no_styles(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For images that are there nothing is drawn, so styles do not matter; the path and the content do."""
    own = replace(recipe, source=tmp_path)
    before = workspace_name(own, 0, holds="a")
    assert before != workspace_name(replace(recipe, source=tmp_path / "other"), 0, holds="a")
    assert before != workspace_name(own, 0, holds="b")
    brighter("film", monkeypatch)
    assert workspace_name(own, 0, holds="a") == before


def test_no_two_runs_have_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders asked for within the same second are different ones."""
    monkeypatch.setattr("deploy.simulation.workspace.RESULTS", tmp_path / "results")
    folders = {new_run_folder("tiny", "-kd").path for _ in range(5)}
    assert len(folders) == 5
    assert all(path.is_dir() for path in folders)
