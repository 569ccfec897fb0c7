"""What the machine that builds has of its own: handed to pip for the build alone, and looked for in what was built.

In: pip's configuration here. Out: a folder that is mounted while images are built, and the words that must be in none.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from packaging.version import Version
from pip._internal.models.index import PyPI

PLACE = "/mnt"  # is there in every Debian, and empty
SETTINGS = f"{PLACE}/pip.conf"
CERTIFICATES = "certificates.pem"
_TAKEN = (
    "index-url",
    "extra-index-url",
    "find-links",
    "trusted-host",
    "proxy",
    "timeout",
    "default-timeout",
    "retries",
)
_PUBLIC = {PyPI.netloc, PyPI.file_storage_domain, "localhost", "127.0.0.1"}  # as pip itself names them
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----\s+(.+?)\s+-----END CERTIFICATE-----", re.DOTALL)
_SHORTEST_NAME = 6  # of a machine: shorter words are found anywhere


def pip_settings() -> dict[str, str]:
    """Return pip's settings here by name; variables come before files, as pip has it."""
    told = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    return read_settings(told)


def read_settings(told: str) -> dict[str, str]:
    """Read what `pip config list` prints."""
    found: dict[str, str] = {}
    for line in sorted(told.splitlines(), key=lambda one: one.startswith(":env:")):
        where, _, value = line.partition("=")
        found[where.rpartition(".")[2]] = value.strip().strip("'\"").replace("\\n", " ")
    return found


def torch_without_cuda() -> str:
    """Return the newest CPU build of torch that pip can reach from here, as pip takes it; "" where there is none."""
    command = [sys.executable, "-m", "pip", "index", "versions", "torch"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return newest_cpu_build(told)


def newest_cpu_build(told: str) -> str:
    """Read what `pip index versions torch` prints."""
    builds = sorted(set(re.findall(r"\d[\d.]*\+cpu", told)), key=Version)
    return f"torch=={builds[-1]}" if builds else ""


def write_settings(settings: Mapping[str, str], folder: Path) -> tuple[str, ...]:
    """Write pip.conf, certificates and local folders of wheels as a build sees them; returns what was passed over.

    An index on this machine's own disk is passed over: what it holds the registry has, too.
    """
    folder.mkdir(parents=True)
    lines, passed = ["[global]"], []
    for name, value in settings.items():
        if name == "cert" and value:
            shutil.copyfile(value, folder / CERTIFICATES)
            lines.append(f"cert = {PLACE}/{CERTIFICATES}")
        elif name in _TAKEN:
            local, other = _parted(value.split())
            if name == "find-links":
                other += [_handed_over(Path(path), folder, number) for number, path in enumerate(local)]
            else:
                passed += [f"{name}: {path}" for path in local]
            if other:
                lines.append(f"{name.removeprefix('default-')} = {' '.join(other)}")
    (folder / "pip.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tuple(passed)


def _parted(values: Iterable[str]) -> tuple[list[str], list[str]]:
    """Part what names a folder here from the rest."""
    local, other = [], []
    for value in values:
        path = urlsplit(value).path if value.startswith("file:") else value
        if path.startswith("/"):
            local.append(path)
        else:
            other.append(value)
    return local, other


def _handed_over(path: Path, folder: Path, number: int) -> str:
    """Give a folder of wheels to the builds, by links where it is on the same disk; returns its place there."""
    place = folder / "links" / str(number)
    try:
        shutil.copytree(path, place, copy_function=os.link)
    except (OSError, shutil.Error):
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(path, place)
    return f"{PLACE}/links/{number}"


@dataclass(frozen=True)
class Traces:
    """Words of the machine that built: found in an image, they tell where it was built, or what it trusts there."""

    words: Mapping[str, bytes]

    def found(self, data: bytes) -> list[str]:
        """Return the names of the words that stand in the data."""
        return [name for name, word in self.words.items() if word in data]


def traces(settings: Mapping[str, str], folders: Iterable[Path], own: bytes, base: bytes) -> Traces:
    """Collect them: folders here, this machine's name, indexes and proxies, certificates that only it believes.

    `own` and `base` are the certificates that this machine and the base image believe, PEM.
    """
    words = {f"folder {folder}": os.fsencode(folder) for folder in folders}
    name = socket.gethostname()
    if len(name) >= _SHORTEST_NAME:
        words["the machine's name"] = name.encode()
    for value in (*(settings.get(one, "") for one in _TAKEN[:5]), *_proxies()):
        local, other = _parted(value.split())
        words |= {f"folder {path}": path.encode() for path in local}
        hosts = (
            {urlsplit(one if "//" in one else f"//{one}").hostname or "" for one in other} - _PUBLIC - {""}
        )
        words |= {f"host {host}": host.encode() for host in hosts}
    for number, line in enumerate(sorted(_bodies(own) - _bodies(base))):
        words[f"certificate {number} of this machine"] = line
    return Traces(words)


def _proxies() -> list[str]:
    return [value for name, value in os.environ.items() if name.lower() in {"http_proxy", "https_proxy"}]


def _bodies(bundle: bytes) -> set[bytes]:
    """Return a line of each certificate that no other has: the middle one."""
    bodies = (found.split() for found in _PEM.findall(bundle))
    return {lines[len(lines) // 2] for lines in bodies}
