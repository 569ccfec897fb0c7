"""Named arrays as the bytes of a safetensors file, in pieces: the header, then each array where it lies.

In: arrays of numbers by name, and text for the header's metadata. Out: pieces to be joined or written, with no copy of
the arrays on the way. The bytes are those of `safetensors.numpy.save`, but for more padding where it is asked for.
Reading is the library's: its parser is the one that is made for bytes nobody has checked.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

ALIGNMENT: Final = 8  # of the header with its length, as the library has it
Tensors = Mapping[str, NDArray[np.number[Any]]]
Buffer = bytes | memoryview
_KINDS: Final = {"f": "F", "i": "I", "u": "U"}


def tensor_pieces(
    arrays: Tensors, metadata: Mapping[str, str], *, multiple: int = ALIGNMENT
) -> Iterator[Buffer]:
    """Yield the file in pieces; equal arrays and metadata give equal bytes, in whatever order they come.

    The first array begins at a multiple of `multiple` bytes. The pieces show the arrays themselves: use them before
    anything is changed.
    """
    names = sorted(arrays, key=lambda name: (-arrays[name].itemsize, name))
    yield _header([(name, arrays[name]) for name in names], metadata, multiple)
    for name in names:
        yield _as_bytes(arrays[name])


def tensor_bytes(arrays: Tensors, metadata: Mapping[str, str], *, multiple: int = ALIGNMENT) -> bytes:
    """Return the pieces as one."""
    return b"".join(tensor_pieces(arrays, metadata, multiple=multiple))


def _header(
    named: list[tuple[str, NDArray[np.number[Any]]]], metadata: Mapping[str, str], multiple: int
) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in named:
        begin, end = end, end + array.nbytes
        kind = f"{_KINDS[array.dtype.kind]}{8 * array.itemsize}"
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [begin, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % multiple)
    return len(text).to_bytes(8, "little") + text


def _as_bytes(array: NDArray[np.number[Any]]) -> memoryview:
    """Return the array's bytes, little end first; copied only where they lie otherwise."""
    flat = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1)
    return flat.view(np.uint8).data
