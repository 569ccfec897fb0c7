"""What is inside an image, looked at file by file: owners, modes, what a build leaves, and the machine that built it.

In: the mounted root of an image, and the base's. Out: a finding for each rule, and the size.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.images.machine import Traces
from deploy.images.storage import USER

LIMIT_BYTES = 1_500_000_000  # of a site without GPU, beyond the base
_OWN = int(USER.partition(":")[0])
_NAMES_TOLD = 5
_EMPTY = (
    "tmp",
    "var/tmp",
    "root/.cache",
    "var/lib/apt/lists",
    "var/cache/apt/archives",
    "mnt",
    "media",
    "srv",
    "home",
)
_OF_APT = {"lock", "partial"}
_NEVER = re.compile(  # our own tests and papers of the repository, settings, keys
    r"(^|/)(\.git|\.venv|pip\.conf|\.pip|\.netrc|\.dockerignore|\.pytest_cache|\.mypy_cache|\.ruff_cache|id_(rsa|dsa|ecdsa|ed25519))(/|$)"
    r"|^(app|src)/(tests|docs|results)(/|$)|/site-packages/(tests|deploy)(/|$)|\.(whl|tar\.gz|part|orig)$"
)
_UNCHECKED = 1  # PEP 552: compiled by content, and not compared with the source
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{40}")


@dataclass(frozen=True)
class Finding:
    """One rule, and the files that break it; `()` is good."""

    rule: str
    broken: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return one line."""
        if not self.broken:
            return f"ok    {self.rule}"
        more = len(self.broken) - _NAMES_TOLD
        told = ", ".join(self.broken[:_NAMES_TOLD]) + (f" and {more} more" if more > 0 else "")
        return f"FAIL  {self.rule}: {told}"


@dataclass(frozen=True)
class Entry:
    """A file or folder: its place below the root, and what the disk says of it."""

    place: str
    path: Path
    status: os.stat_result

    @property
    def is_file(self) -> bool:
        """A plain file, neither link nor folder."""
        return stat.S_ISREG(self.status.st_mode)

    @property
    def bits(self) -> int:
        """The permission bits."""
        return stat.S_IMODE(self.status.st_mode)


def entries(root: Path) -> list[Entry]:
    """List everything below a root, links not followed, in order."""
    return sorted(_walk(root, ""), key=lambda one: one.place)


def _walk(folder: Path, place: str) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        for one in found:
            here = f"{place}/{one.name}" if place else one.name
            yield Entry(here, Path(one.path), one.stat(follow_symlinks=False))
            if one.is_dir(follow_symlinks=False):
                yield from _walk(Path(one.path), here)


def size(found: Iterable[Entry]) -> int:
    """Sum the bytes of files, a file with several names once."""
    return sum(
        {(one.status.st_dev, one.status.st_ino): one.status.st_size for one in found if one.is_file}.values()
    )


def look_inside(
    config: Mapping[str, Any], found: list[Entry], base: list[Entry], traces: Traces
) -> list[Finding]:
    """Try every rule on an image."""
    volumes = {place.strip("/") for place in config.get("Volumes") or {}}
    before = {one.place: one for one in base}
    added = [one for one in found if one.place not in before]
    return [
        Finding(f"runs as {USER}", () if config.get("User") == USER else (str(config.get("User")),)),
        _volumes(found, volumes),
        _owned_by_root(found, volumes),
        _not_written_by_others(found),
        Finding("no file gives its owner's rights that did not in the base",
                tuple(one.place for one in added if one.is_file and one.bits & (stat.S_ISUID | stat.S_ISGID))),
        Finding("no cache, list, or file for a while is left", tuple(_left(found))),
        Finding("no settings, repository, tests or parcels", tuple(o.place for o in added if _NEVER.search(o.place))),
        _compiled(added),
        *_contents(added, traces),
    ]  # fmt: skip


def _volumes(found: list[Entry], volumes: set[str]) -> Finding:
    """Volumes take owner and mode from the image: they are the user's alone, and empty but for other volumes."""
    known = {one.place: one for one in found}
    wrong = []
    for place in sorted(volumes):
        entry = known.get(place)
        owned = entry is not None and (entry.status.st_uid, entry.status.st_gid, entry.bits) == (
            _OWN,
            _OWN,
            0o700,
        )
        inside = [
            one.place for one in found if one.place.startswith(f"{place}/") and one.place not in volumes
        ]
        wrong += [] if owned else [f"{place} is not {_OWN}'s alone"]
        wrong += inside
    return Finding(f"volumes are empty, and {_OWN}'s alone", tuple(wrong))


def _owned_by_root(found: list[Entry], volumes: set[str]) -> Finding:
    theirs = tuple(one.place for one in found if one.status.st_uid == _OWN and one.place not in volumes)
    return Finding("program and system belong to others than the user", theirs)


def _not_written_by_others(found: list[Entry]) -> Finding:
    loose = tuple(
        one.place for one in found
        if not stat.S_ISLNK(one.status.st_mode) and one.bits & stat.S_IWOTH and not one.bits & stat.S_ISVTX
        and not stat.S_ISCHR(one.status.st_mode)
    )  # fmt: skip
    return Finding("everybody may write nothing but folders for a while", loose)


def _left(found: list[Entry]) -> Iterator[str]:
    for one in found:
        name = one.place.rpartition("/")[2]
        if name == ".cache" or (
            any(one.place.startswith(f"{folder}/") for folder in _EMPTY) and name not in _OF_APT
        ):
            yield one.place


def _compiled(added: list[Entry]) -> Finding:
    """Layers round times to seconds: a module that was compiled by time would be compiled anew at every start."""
    by_time = (
        one.place for one in added if one.is_file and one.place.startswith("opt/") and one.place.endswith(".pyc")
        and int.from_bytes(one.path.read_bytes()[4:8], "little") != _UNCHECKED
    )  # fmt: skip
    return Finding("modules are compiled, and stay so", tuple(by_time))


def _contents(added: list[Entry], traces: Traces) -> list[Finding]:
    """Read every file that is not the base's, once."""
    told, keys = [], []
    for one in added:
        if stat.S_ISLNK(one.status.st_mode):
            told += [f"{one.place} ({name})" for name in traces.found(os.fsencode(one.path.readlink()))]
        if not one.is_file:
            continue
        data = one.path.read_bytes()
        told += [f"{one.place} ({name})" for name in traces.found(data)]
        if _KEY.search(data):
            keys.append(one.place)
    return [
        Finding(f"none of {len(traces.words)} words of the machine that built", tuple(told)),
        Finding("no private key", tuple(keys)),
    ]
