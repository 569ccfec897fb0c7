"""Arrays of an .npz, within limits: a path and a name come in, an array that nobody may write to goes out.

An array's size is read from its header before any of it is decompressed, and nothing is unpickled.
"""

import math
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path
from typing import IO, Any

import numpy.typing as npt
from numpy.lib import format as npy

from shared.data.pictures.limits import MAX_ARRAY_BYTES, MAX_ARRAYS_FILE_BYTES, check_array, check_file

Array = npt.NDArray[Any]
# What numpy and zipfile raise on files that are cut, damaged, encrypted or of another layout.
UNREADABLE = (
    OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, RuntimeError, MemoryError, OverflowError,
    SyntaxError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # what numpy writes; others take memory of their own


def read_array(path: Path, name: str) -> Array:
    """Return one array of an .npz; those read last are kept, since any row needs its whole array.

    Errors: `TooLargeError` past `shared/data/pictures/limits.py`; one of `UNREADABLE` for a file of another kind.
    """
    key = (path, name, path.stat().st_mtime_ns)
    array = _kept.pop(key, None)
    if array is None:
        array = _read(path, name)
    _kept[key] = array
    return array


_kept: OrderedDict[tuple[Path, str, int], Array] = (
    OrderedDict()
)  # by file, not by site; MAX_ARRAY_BYTES together


def _read(path: Path, name: str) -> Array:
    check_file(path, MAX_ARRAYS_FILE_BYTES)
    # opened here, since zipfile leaves the file of a damaged archive open
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        entry = archive.getinfo(f"{name}.npy")
        if entry.compress_type not in METHODS:
            raise ValueError("a compression that numpy does not write")
        with archive.open(entry) as member:
            num_bytes, header_bytes = _size(member)
        check_array(max(num_bytes, entry.file_size), entry.compress_size)
        if num_bytes + header_bytes > entry.file_size:
            raise EOFError("the array is shorter than its header says")
        while _kept and num_bytes + sum(one.nbytes for one in _kept.values()) > MAX_ARRAY_BYTES:
            _kept.popitem(last=False)
        with archive.open(entry) as member:
            array: Array = npy.read_array(member, allow_pickle=False)
    array.setflags(write=False)
    return array


def _size(member: IO[bytes]) -> tuple[int, int]:
    """Return how many bytes an array and its header take, from the header alone."""
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(member)
    if version not in readers:
        raise ValueError("a version of the format that is not known")
    shape, _, dtype = readers[version](member)
    if dtype.hasobject:
        raise ValueError("an array of objects, which would be unpickled")
    return math.prod(shape) * dtype.itemsize, member.tell()
