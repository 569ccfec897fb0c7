"""A file is written whole or not at all: readers see the old one or the new one, never a part.

In: a place. Out: a place beside it, which takes its name when all is written. Every file of ours that is replaced while
others may read it comes about here.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PUBLIC = 0o644


@contextmanager
def whole_file(path: Path, *, mode: int = PUBLIC, durable: bool = True) -> Iterator[Path]:
    """Give a new file beside `path` to write; at the end of the block it has that name, and else it is gone.

    The file is its owner's alone until it is whole, and has `mode` then. `durable`: content and name survive a power
    cut. Errors: `OSError` where the folder cannot be written.
    """
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")  # mode 0600
    os.close(descriptor)
    part = Path(name)
    try:
        yield part
        part.chmod(mode)
        if durable:
            _sync(part)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    _sync(folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
