"""The digest of the code that runs, so that hub and site can tell that they run the same."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath

PACKAGES = ("client", "server", "shared")
_SUFFIXES = frozenset({".py", ".json"})


@cache
def code_digest() -> str:
    """SHA-256 over the Python and JSON files of the three packages, wherever they were imported from."""
    root = code_root()
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for package in PACKAGES
        for path in (root / package).rglob("*")
        if path.suffix in _SUFFIXES
    }
    return digest_of(files)


def code_root() -> Path:
    """Return the folder that holds the three packages as they were imported."""
    return Path(__file__).resolve().parent.parent


def digest_of(files: Mapping[str, bytes]) -> str:
    """Return the code digest of files by their names below the root; what is not code of ours has no part in it."""
    digest = hashlib.sha256()
    for name in sorted(map(PurePosixPath, files)):
        if name.parts[0] in PACKAGES and name.suffix in _SUFFIXES:
            digest.update(name.as_posix().encode())
            digest.update(hashlib.sha256(files[name.as_posix()]).digest())
    return digest.hexdigest()
