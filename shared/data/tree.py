"""All files below a folder, in order: a folder comes in, its paths and the folders that cannot be listed go out."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.data.records import LeftOut
from shared.errors import DataError

MAX_DEPTH = 64  # folders in each other; os.walk takes a frame of Python's stack for each


def files_below(root: Path, enters: Callable[[str], bool]) -> Iterator[Path | LeftOut]:
    """Yield every file below `root`, folder by folder and each sorted by name, below those that it `enters`.

    A folder that cannot be listed, or stands deeper than `MAX_DEPTH`, is left out, and with it whoever is in it.
    Errors: `DataError` where the root itself cannot be listed.
    """
    errors: list[OSError] = []
    too_deep: list[Path] = []
    top = len(root.parts)
    for folder, below, names in os.walk(root, onerror=errors.append):
        here = Path(folder)
        entered = sorted(name for name in below if enters(name))
        if len(here.parts) - top >= MAX_DEPTH:
            too_deep += [here / name for name in entered]
            entered = []
        below[:] = entered
        yield from (here / name for name in sorted(names))
    unlisted = [Path(error.filename) for error in errors]
    if root in unlisted:
        raise DataError(
            f"source {root} cannot be listed, needed is a folder that may be read; check its owner"
        )
    for path in [*unlisted, *too_deep]:
        refusal = (
            f"a folder below {root} cannot be listed, needed are folders that may be read, at most {MAX_DEPTH} in "
            "each other; correct it"
        )
        yield LeftOut("record_folder", file=path, refusal=refusal)


def resolved(path: Path) -> Path:
    """Follow links, where there are any that can be followed."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # a part too long, a NUL, links in a circle
        return path
