"""Predictions of models that do not change between runs: kept where a workspace can be written, right everywhere."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor, nn

from server.public_data.baselines import Public


class Brightness(nn.Module):
    """Logits that a picture's brightness gives; counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def forward(self, x: Tensor) -> Tensor:
        self.asked += 1
        mean = x.mean(dim=(1, 2, 3))
        return mean.new_zeros(len(x), 2) + mean[:, None] * mean.new_tensor([1.0, -1.0])


@pytest.fixture
def public(tiny_federation: Any, tmp_path: Path) -> Public:
    workspace = tmp_path / "workspace"
    shutil.copytree(tiny_federation.workspace, workspace)
    shutil.rmtree(workspace / "predictions", ignore_errors=True)
    return Public.load(workspace, tiny_federation.study)


def test_predictions_are_computed_once_for_each_digest(public: Public) -> None:
    """The second time the model is not asked; other weights are another file; no half a file is left."""
    model = Brightness()
    first = public.predictions("warm", "a" * 64, model)
    asked = model.asked
    assert asked > 0
    assert np.array_equal(public.predictions("warm", "a" * 64, model), first)
    assert model.asked == asked
    public.predictions("warm", "b" * 64, model)
    assert model.asked == 2 * asked
    names = {path.name for path in (public.workspace / "predictions").iterdir()}
    assert names == {f"warm-{'a' * 16}.npy", f"warm-{'b' * 16}.npy"}


def test_a_workspace_that_cannot_be_written_is_read_all_the_same(public: Public) -> None:
    """Where the folder cannot be made the same predictions come, computed each time."""
    model = Brightness()
    (public.workspace / "predictions").write_text("in the way", encoding="utf-8")
    first = public.predictions("warm", "a" * 64, model)
    asked = model.asked
    assert np.array_equal(public.predictions("warm", "a" * 64, model), first)
    assert model.asked == 2 * asked
    assert np.allclose(first.sum(axis=1), 1)
