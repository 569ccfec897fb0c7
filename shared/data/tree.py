"""All files below a folder, in order: a folder comes in, its paths and what is passed over go out.

Files and folders that systems leave behind are counted, not read. A link to a folder outside is followed, once: a
link that leads back into the source, or stands in a folder that a link led to, is counted instead.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from shared.data.patients import LeftOut
from shared.errors import DataError

MAX_DEPTH = 64  # folders in each other; os.walk takes a frame of Python's stack for each
# What macOS, Windows, Linux and network drives put into folders, by small letters; so is every name that begins with .
SYSTEM_NAMES = frozenset(
    {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "#snapshot", "$recycle.bin"}
    | {"lost+found", "system volume information", "icon\r"}
)


def is_system_name(name: str) -> bool:
    """Say whether a file or folder is a system's own and no picture of a patient, or hidden."""
    return name[0] in ".~" or name.lower() in SYSTEM_NAMES


def files_below(root: Path, enters: Callable[[str], bool]) -> Iterator[Path | LeftOut]:
    """Yield every file below `root`, folder by folder and each sorted by name, below those that it `enters`.

    A folder that cannot be listed, or stands deeper than `MAX_DEPTH`, is left out, and with it whoever is in it.
    Errors: `DataError` where the root itself cannot be listed.
    """
    yield from _below(root, root, enters, resolved(root))


def _below(root: Path, top: Path, enters: Callable[[str], bool], home: Path) -> Iterator[Path | LeftOut]:
    """Yield the files of `top`, which is `root` or what a link below it leads to."""
    errors: list[OSError] = []
    too_deep: list[Path] = []
    for folder, below, names in os.walk(top, onerror=errors.append):
        here = Path(folder)
        own = [name for name in sorted(below) if not is_system_name(name) and enters(name)]
        links = [here / name for name in own if os.path.islink(here / name)]  # noqa: PTH114 - false, not an error, for a path too long
        entered = [name for name in own if here / name not in links]
        if len(here.parts) - len(root.parts) >= MAX_DEPTH:
            too_deep += [here / name for name in [*entered, *(link.name for link in links)]]
            entered, links = [], []
        yield from (
            LeftOut("system_file", file=here / name)
            for name in sorted([*below, *names])
            if is_system_name(name)
        )
        below[:] = entered
        yield from (here / name for name in sorted(names) if not is_system_name(name))
        for link in links:
            yield from _linked(root, link, enters, home, is_first=top == root)
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


def _linked(
    root: Path, link: Path, enters: Callable[[str], bool], home: Path, *, is_first: bool
) -> Iterator[Path | LeftOut]:
    target = resolved(link)
    leads_back = target.is_relative_to(home) or home.is_relative_to(target)
    if is_first and not leads_back:
        yield from _below(root, link, enters, home)
    else:
        yield LeftOut("linked_folder", file=link)


def resolved(path: Path) -> Path:
    """Follow links, where there are any that can be followed."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):  # a part too long, a NUL, links in a circle
        return path
