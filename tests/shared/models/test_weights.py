"""Weights files are named by their bytes, checked before use, and never half written."""

import hashlib

import pytest
import torch
from torch import nn

from shared.errors import WeightsError
from shared.models.weights import (
    file_sha256,
    find_weights,
    load_into,
    load_metadata,
    load_weights,
    save_weights,
    store_weights,
)

STATE = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2], dtype=torch.int64)}


def test_what_is_saved_is_loaded(tmp_path):
    """Names, values, shapes and types survive the file, and the digest is that of its bytes."""
    sha256 = save_weights(STATE, tmp_path / "w.safetensors", {"k": "v"})
    assert sha256 == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()
    assert sha256 == file_sha256(tmp_path / "w.safetensors")
    loaded = load_weights(tmp_path / "w.safetensors", sha256)
    assert loaded.keys() == STATE.keys()
    assert all(torch.equal(loaded[k], STATE[k]) and loaded[k].dtype == STATE[k].dtype for k in STATE)


def test_equal_states_give_equal_bytes(tmp_path):
    """Neither the order of tensors nor that of metadata changes the digest."""
    text = {str(i): "x" * i for i in range(20)}
    one = save_weights(STATE, tmp_path / "1", text)
    two = save_weights(dict(reversed(STATE.items())), tmp_path / "2", dict(reversed(text.items())))
    assert one == two
    assert load_metadata(tmp_path / "1") == text


def test_another_digest_is_refused(tmp_path):
    """A file whose bytes were changed is refused before it is parsed."""
    sha256 = save_weights(STATE, tmp_path / "w")
    data = bytearray((tmp_path / "w").read_bytes())
    data[-1] ^= 1
    (tmp_path / "w").write_bytes(data)
    with pytest.raises(WeightsError, match=f"expected {sha256}"):
        load_weights(tmp_path / "w", sha256)


def test_damaged_and_missing_files_are_refused(tmp_path):
    """A file that is no safetensors file, or is not there, is a WeightsError naming the file alone."""
    (tmp_path / "w").write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match=r"^w: is not a valid"):
        load_weights(tmp_path / "w", None)
    with pytest.raises(WeightsError, match=r"^w: is not a valid"):
        load_metadata(tmp_path / "w")
    with pytest.raises(WeightsError, match=r"^gone: cannot be read"):
        load_weights(tmp_path / "gone", None)


def test_the_store_names_files_by_their_digest(tmp_path):
    """A stored state is found by its digest, storing it again adds nothing, another digest is refused."""
    sha256 = store_weights(STATE, tmp_path)
    assert store_weights(STATE, tmp_path) == sha256
    assert [p.name for p in tmp_path.iterdir()] == [f"{sha256}.safetensors"]
    assert file_sha256(find_weights(tmp_path, sha256)) == sha256
    with pytest.raises(WeightsError, match="0000"):
        find_weights(tmp_path, "0" * 64)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    """When writing fails, the file that was there stays whole and nothing else is left behind."""
    sha256 = save_weights(STATE, tmp_path / "w")

    def fail(_descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights({"c": torch.zeros(1)}, tmp_path / "w")
    assert [p.name for p in tmp_path.iterdir()] == ["w"]
    assert file_sha256(tmp_path / "w") == sha256


def test_tensors_that_share_storage_are_saved(tmp_path):
    """Views and transposes of one tensor are saved with their own values."""
    base = torch.arange(6.0).reshape(2, 3)
    save_weights({"row": base[0], "turned": base.T}, tmp_path / "w")
    assert torch.equal(load_weights(tmp_path / "w", None)["turned"], base.T)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda s: s.pop("bias"), "lack bias"),
        (lambda s: s.update(extra=torch.zeros(1)), "hold extra"),
        (lambda s: s.update(weight=torch.zeros(3, 3)), r"weight of shape \(3, 3\)"),
        (lambda s: s.update(bias=torch.zeros(2, dtype=torch.int64)), "bias as torch.int64"),
        (lambda s: s.update(bias=torch.tensor([0.0, torch.nan])), "bias with numbers that are not finite"),
    ],
    ids=["missing", "unknown", "shape", "kind", "nan"],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(change, named):
    """Missing, unknown, misshapen, mistyped or non-finite tensors are named and change nothing."""
    module = nn.Linear(3, 2)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    state = {"weight": torch.ones(2, 3), "bias": torch.ones(2)}
    change(state)
    with pytest.raises(WeightsError, match=named):
        load_into(module, state)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())


def test_what_fits_is_copied():
    """A state that fits replaces every tensor."""
    module = nn.Linear(3, 2)
    load_into(module, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)})
    assert module(torch.ones(1, 3)).tolist() == [[3.0, 3.0]]
