"""The digest of the code that runs, so that hub and site can tell that they run the same."""

import hashlib
from functools import cache
from pathlib import Path

_PACKAGES = ("client", "server", "shared")


@cache
def code_digest() -> str:
    """SHA-256 over the Python and JSON files of the three packages, wherever they were imported from."""
    root = Path(__file__).resolve().parent.parent
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*")):
            if path.suffix in {".py", ".json"}:
                digest.update(path.relative_to(root).as_posix().encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
