"""Style sheet, scripts and mark, served from memory under names that hold their digest.

In: the files of `static/`. Out: URLs that never change their content, so that browsers keep them for ever.
"""

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "static"
_DIGITS: Final = 16


@dataclass(frozen=True)
class Static:
    """One file, and the same compressed."""

    url: str
    media_type: str
    content: bytes
    compressed: bytes


@cache
def statics() -> dict[str, Static]:
    """Return all files by their own names."""
    return {path.name: _read(path) for path in sorted(FOLDER.iterdir()) if path.suffix != ".txt"}


def static_url(name: str) -> str:
    """Return where a file is served; `KeyError` where there is none."""
    return statics()[name].url


@cache
def by_url() -> dict[str, Static]:
    """Return all files by the path that they are served at."""
    return {one.url: one for one in statics().values()}


def _read(path: Path) -> Static:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:_DIGITS]
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Static(
        f"/static/{path.stem}.{digest}{path.suffix}", media_type, content, gzip.compress(content, 9, mtime=0)
    )
