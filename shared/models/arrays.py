"""Named float32 arrays, as weights and updates travel: their digest, and to and from tensors."""

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Arrays = Mapping[str, NDArray[np.float32]]


def to_arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Copy tensors to float32 arrays under the same names."""
    return {name: tensors[name].detach().cpu().to(torch.float32).numpy().copy() for name in sorted(tensors)}


def to_tensors(arrays: Arrays) -> dict[str, Tensor]:
    """Copy arrays to tensors under the same names."""
    return {name: torch.from_numpy(np.array(array, copy=True)) for name, array in arrays.items()}


def arrays_digest(arrays: Arrays) -> str:
    """SHA-256 over names, shapes and bytes in name order: equal weights have equal digests."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name], dtype="<f4")
        digest.update(f"{name}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
