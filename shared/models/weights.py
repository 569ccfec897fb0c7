"""Weights as safetensors files that are named and checked by the SHA-256 of their bytes; never a pickle.

In: named tensors and a path. Out: the file's digest, or the tensors of a file whose digest is the one asked
for. What leaves a hospital never passes here: that goes through `client/rounds/egress.py`.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor, nn

from shared.errors import WeightsError
from shared.whole_file import whole_file

NO_METADATA: Mapping[str, str] = {}


def save_weights(state: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str] = NO_METADATA) -> str:
    """Write tensors and text metadata atomically; return the SHA-256 of the file.

    Equal states with equal metadata give equal bytes, so equal digests.
    """
    data = _encode(state, metadata)
    _write_atomically(data, path)
    return hashlib.sha256(data).hexdigest()


def store_weights(state: Mapping[str, Tensor], folder: Path) -> str:
    """Write tensors to `<folder>/<sha256>.safetensors`; return the digest, the same for the same state."""
    data = _encode(state, NO_METADATA)
    sha256 = hashlib.sha256(data).hexdigest()
    _write_atomically(data, folder / f"{sha256}.safetensors")
    return sha256


def store_file(path: Path, sha256: str | None, folder: Path) -> str:
    """Copy a weights file, byte for byte, to `<folder>/<its SHA-256>.safetensors`; return the digest.

    Unlike storing its tensors again this keeps its digest. Raises WeightsError as `load_weights` does.
    """
    data, digest = checked_bytes(path, sha256)
    _tensors(data, path)
    _write_atomically(data, folder / f"{digest}.safetensors")
    return digest


def load_weights(path: Path, sha256: str | None) -> dict[str, Tensor]:
    """Read the tensors of a file; WeightsError when it is missing, damaged or not the file with that digest.

    The bytes that are parsed are the bytes that were checked.
    """
    return _tensors(checked_bytes(path, sha256)[0], path)


def load_metadata(path: Path) -> dict[str, str]:
    """Return the text metadata of a weights file."""
    data = _read(path)
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return {str(key): str(value) for key, value in header.get("__metadata__", {}).items()}
    except (ValueError, AttributeError) as error:
        raise WeightsError(f"{path.name}: is not a valid safetensors file; copy it again") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(_read(path)).hexdigest()


def find_weights(folder: Path, sha256: str) -> Path:
    """Return the path of the stored weights with a digest; WeightsError when the folder has none."""
    path = folder / f"{sha256}.safetensors"
    if not path.is_file():
        raise WeightsError(f"weights {sha256} are not in the weights folder; copy the file {path.name} there")
    return path


def load_into(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors into a module whose names, shapes and kinds of number they match exactly.

    Raises WeightsError naming the first mismatch, before anything is changed.
    """
    own = module.state_dict()
    for name in sorted(own.keys() | state.keys()):
        if name not in state:
            raise WeightsError(f"weights lack {name}; use a file made for this model")
        if name not in own:
            raise WeightsError(f"weights hold {name}, unknown to this model; use a file made for this model")
        if own[name].shape != state[name].shape:
            raise WeightsError(
                f"weights hold {name} of shape {tuple(state[name].shape)}, this model has "
                f"{tuple(own[name].shape)}; use a file made for this model"
            )
        if own[name].is_floating_point() != state[name].is_floating_point():
            raise WeightsError(
                f"weights hold {name} as {state[name].dtype}, this model has {own[name].dtype}; "
                "use a file made for this model"
            )
        if not bool(torch.isfinite(state[name]).all()):
            raise WeightsError(f"weights hold {name} with numbers that are not finite; use another file")
    module.load_state_dict(dict(state))


def _encode(state: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    # clones: tensors that share storage are refused by safetensors
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    data = safetensors.save(tensors)
    if not metadata:
        return data
    # safetensors writes its metadata in no fixed order, so it is put into the header here, sorted
    length = int.from_bytes(data[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items()))} | json.loads(data[8 : 8 + length])
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def _write_atomically(data: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, mode=0o600) as part:
        part.write_bytes(data)


def checked_bytes(path: Path, sha256: str | None) -> tuple[bytes, str]:
    """Return a file's bytes and their digest, which must be the one asked for; WeightsError when it is not."""
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise WeightsError(
            f"{path.name}: SHA-256 is {found}, expected {sha256}; put the right file in its place"
        )
    return data, found


def _tensors(data: bytes, path: Path) -> dict[str, Tensor]:
    try:
        return safetensors.load(data)
    except SafetensorError as error:
        raise WeightsError(f"{path.name}: is not a valid safetensors file; copy it again") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path.name}: cannot be read; check that the file exists") from error
