"""An app bundle (Flower's FAB) taken apart without running or unpacking any of it.

In: a zip file that somebody else made. Out: its SHA-256, which is what a hospital signs, and its files by name. A
bundle that could show a reader one thing and Flower another is refused.
"""

import hashlib
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from shared.code_digest import digest_of
from shared.errors import DataError

MAX_BUNDLE_BYTES = 10 * 1024 * 1024  # Flower's own limit (flwr 1.41, FAB_MAX_SIZE)
MAX_UNPACKED_BYTES = 8 * MAX_BUNDLE_BYTES
_LISTING = ".info/CONTENT"  # Flower's list of hashes; not a part of the app


@dataclass(frozen=True)
class Bundle:
    """A bundle's bytes, and its files by their names."""

    content: bytes
    files: Mapping[str, bytes]

    @property
    def sha256(self) -> str:
        """What a hospital's signature covers: 64 hexadecimal digits."""
        return hashlib.sha256(self.content).hexdigest()

    @property
    def code_digest(self) -> str:
        """What `shared.code_digest.code_digest` says once this bundle runs."""
        return digest_of(self.files)

    @property
    def app(self) -> tuple[str, str]:
        """Flower's name of the app, such as @publisher/app, and its version."""
        try:
            told = tomllib.loads(self.files["pyproject.toml"].decode())
            name = f"@{told['tool']['flwr']['app']['publisher']}/{told['project']['name']}"
            return name, str(told["project"]["version"])
        except (KeyError, TypeError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise DataError(
                "bundle: its pyproject.toml names no publisher, app or version; build it with `flwr build`"
            ) from error


def read_bundle(path: Path) -> Bundle:
    """Read a bundle; `DataError` where it is no zip, too large, or not the same for every reader."""
    try:
        if path.stat().st_size > MAX_BUNDLE_BYTES:
            raise DataError(
                f"bundle {path.name}: is {path.stat().st_size} bytes, allowed are {MAX_BUNDLE_BYTES}"
            )
        return opened_bundle(path.read_bytes())
    except OSError as error:
        raise DataError(f"bundle {path.name}: cannot be read; give a .fab file") from error


def opened_bundle(content: bytes) -> Bundle:
    """Take a bundle's bytes apart; `DataError` as in `read_bundle`."""
    try:
        with zipfile.ZipFile(BytesIO(content)) as archive:
            members = [one for one in archive.infolist() if not one.is_dir()]
            _check(members)
            files = {one.filename: archive.read(one) for one in members}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise DataError("bundle: is no zip file that can be read; ask the hub for it again") from error
    if _LISTING not in files:
        raise DataError(
            f"bundle: holds no {_LISTING}, so Flower did not build it; build it with `flwr build`"
        )
    del files[_LISTING]
    return Bundle(content, dict(sorted(files.items())))


def _check(members: list[zipfile.ZipInfo]) -> None:
    if sum(one.file_size for one in members) > MAX_UNPACKED_BYTES:
        raise DataError(f"bundle: unpacks to more than {MAX_UNPACKED_BYTES} bytes; it is not one of ours")
    seen: set[str] = set()
    for one in members:
        parts = PurePosixPath(one.filename).parts
        odd = one.filename.startswith("/") or ".." in parts or "\\" in one.filename
        odd = odd or one.orig_filename != one.filename  # cut at a zero byte
        odd = odd or "/".join(parts) != one.filename or not one.filename.isprintable()
        # two files under one name: a reader may be shown the first and Flower unpack the second
        if odd or one.filename.casefold() in seen:
            raise DataError(
                f"bundle: holds the file name {one.filename!r} twice, or one that leaves its folder or hides signs; "
                "do not approve it, ask the hub how it was built"
            )
        seen.add(one.filename.casefold())
