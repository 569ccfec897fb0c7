"""A checkpoint holds all of the study's state, or the one before."""

import os
from pathlib import Path

import numpy as np
import pytest

from server.runs.checkpoints import StudyState, load_state, save_state
from shared.errors import StudyError

DIGEST = "d" * 64


def state() -> StudyState:
    """Return a state with something in every field."""
    return StudyState(
        study_digest=DIGEST,
        weights={"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(1, np.float32)},
        rounds_done=2,
        bytes_received={"north": [10, 20]},
        statements={"north": {"epsilon": None}},
        excluded={"south": "budget_spent"},
        carried={"w": np.full((2, 3), 0.5, np.float32), "b": np.ones(1, np.float32)},
        last_round={"round": 2, "answered": ["north"], "missing": {"south": "budget_spent"}},
    )


def test_there_and_back(tmp_path: Path) -> None:
    """A loaded state equals the saved one in every field."""
    saved = state()
    save_state(saved, tmp_path / "c.safetensors")
    loaded = load_state(tmp_path / "c.safetensors", DIGEST)
    arrays = {"weights": None, "carried": None}
    assert {**loaded.__dict__, **arrays} == {**saved.__dict__, **arrays}
    for ours, theirs in ((loaded.weights, saved.weights), (loaded.carried, saved.carried)):
        assert ours.keys() == theirs.keys()
        for name, array in theirs.items():
            np.testing.assert_array_equal(ours[name], array)


def test_nothing_to_resume(tmp_path: Path) -> None:
    """Without a file there is no state."""
    assert load_state(tmp_path / "c.safetensors", DIGEST) is None


def test_a_new_study_has_a_new_uid() -> None:
    """Two fresh states differ in study_uid; a closed round keeps it."""
    assert state().study_uid != state().study_uid
    first = state()
    after = first.after_round({"w": np.ones(1, np.float32)}, {}, {"answered": ["north"]})
    assert (after.study_uid, after.rounds_done) == (first.study_uid, 3)
    assert after.last_round == {"round": 3, "answered": ["north"]}


def test_a_foreign_study_is_refused(tmp_path: Path) -> None:
    """Another study's checkpoint is refused with both digests named."""
    save_state(state(), tmp_path / "c.safetensors")
    with pytest.raises(StudyError, match=r"belongs to study dddddddddddd, this one is eeeeeeeeeeee"):
        load_state(tmp_path / "c.safetensors", "e" * 64)


def test_a_crash_while_saving_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the new state cannot be made durable, the file still holds the old one, whole."""
    path = tmp_path / "c.safetensors"
    old = state()
    save_state(old, path)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_state(old.after_round(old.weights, old.carried, {}), path)
    assert load_state(path, DIGEST).rounds_done == 2


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, keep: int) -> None:
    """A cut or foreign file is a StudyError, not whatever its reader happens to raise."""
    path = tmp_path / "c.safetensors"
    save_state(state(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(StudyError, match="checkpoint: is damaged"):
        load_state(path, DIGEST)
