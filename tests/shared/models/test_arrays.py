"""Named arrays: copied, never shared, and named by a digest of their content."""

import hashlib
import struct

import numpy as np
import torch

from shared.models.arrays import arrays_digest, to_arrays, to_tensors


def test_there_and_back() -> None:
    """Tensors become float32 arrays and come back equal under the same names."""
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(2.5, dtype=torch.float64)}
    back = to_tensors(to_arrays(tensors))
    assert list(to_arrays(tensors)) == ["a", "b"]
    assert all(torch.equal(back[name], tensors[name].float()) for name in tensors)


def test_nothing_is_shared() -> None:
    """Changing a copy changes neither the tensor it came from nor the array."""
    weight = torch.nn.Parameter(torch.ones(3))
    arrays = to_arrays({"w": weight})
    tensors = to_tensors(arrays)
    arrays["w"][:] = 7
    assert weight.tolist() == [1, 1, 1]
    assert tensors["w"].tolist() == [1, 1, 1]


def test_the_digest_by_hand() -> None:
    """The digest is SHA-256 over name, shape and little-endian bytes in name order."""
    arrays = {"b": np.array([1.5], np.float32), "a": np.array([[1, 2]], np.float32)}
    expected = hashlib.sha256(
        b"a|(1, 2)|" + struct.pack("<2f", 1, 2) + b"b|(1,)|" + struct.pack("<f", 1.5)
    ).hexdigest()
    assert arrays_digest(arrays) == expected == arrays_digest(dict(reversed(arrays.items())))


def test_the_digest_sees_everything() -> None:
    """Another value, shape or name gives another digest; memory layout does not."""
    base = np.arange(6, dtype=np.float32).reshape(2, 3)
    other = base.copy()
    other[1, 2] = np.nextafter(np.float32(5), np.float32(6))
    digests = {arrays_digest({name: array}) for name, array in
               (("w", base), ("v", base), ("w", base.T), ("w", base.reshape(6)), ("w", other))}  # fmt: skip
    assert len(digests) == 5
    assert arrays_digest({"w": np.asfortranarray(base)}) == arrays_digest({"w": base})
