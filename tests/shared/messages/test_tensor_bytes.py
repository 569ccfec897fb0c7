"""Arrays become the bytes that the library itself would write, without being copied on the way."""

import numpy as np
import pytest
from safetensors.numpy import load, save

from shared.messages.tensor_bytes import tensor_bytes, tensor_pieces

ODD = 'quotes " and \\, a tab \t, a bell \x07, é and \u2028'
CASES = {
    "nothing": {},
    "one type": {"b.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array(1.5, np.float32)},
    "two types": {"a": np.ones(3, np.float16), "b": np.ones(2, np.float32), "c": np.ones((0, 2), np.float16)},
    "whole numbers": {"i": np.arange(3, dtype=np.int32), "u": np.arange(3, dtype=np.uint8)},
}


@pytest.mark.parametrize("arrays", CASES.values(), ids=CASES.keys())
def test_the_bytes_are_those_of_the_library(arrays: dict[str, np.ndarray]) -> None:
    """Byte for byte what safetensors writes, with any text as metadata and whatever the order of the names."""
    ours = tensor_bytes(dict(reversed(arrays.items())), {"text": ODD})
    assert ours == save(arrays, metadata={"text": ODD})


@pytest.mark.parametrize("multiple", [8, 64, 4096])
def test_the_arrays_begin_where_they_are_asked_to(multiple: int) -> None:
    """The header is padded to a multiple, and the library reads the same arrays."""
    arrays = CASES["one type"]
    data = tensor_bytes(arrays, {"text": ODD}, multiple=multiple)
    body = b"".join(arrays[name].tobytes() for name in sorted(arrays))
    assert (len(data) - len(body)) % multiple == 0
    assert data.endswith(body)
    assert all(np.array_equal(array, arrays[name]) for name, array in load(data).items())


def test_arrays_are_shown_not_copied() -> None:
    """A piece is the array's own memory where that lies in order, and a copy in order where it does not."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    _, piece = tensor_pieces({"w": array}, {})
    assert np.shares_memory(np.asarray(piece), array)
    assert tensor_bytes({"w": array.T}, {}) == save({"w": np.ascontiguousarray(array.T)}, metadata={})
    swapped = tensor_bytes({"w": array.astype(">f4")}, {})
    np.testing.assert_array_equal(load(swapped)["w"], array)
