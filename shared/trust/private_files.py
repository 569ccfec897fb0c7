"""Writing keys and what belongs to them: whole or not at all, and readable by one account only.

In: bytes and a place. Out: a durable file. Private keys pass through here on their way to the disk and nowhere else.
"""

from pathlib import Path

from shared.errors import ConfigError
from shared.whole_file import whole_file

PRIVATE = 0o600


def private_folder(path: Path) -> Path:
    """Make a folder that only its owner may enter; returns it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            f"folder {path}: cannot be made ({error.strerror}); choose another or mend rights"
        ) from error
    return path


def write_file(path: Path, data: bytes, *, mode: int = PRIVATE, replace: bool = False) -> Path:
    """Write a file under its final name only when it is whole and durable; `ConfigError` where one is already."""
    if path.exists() and not replace:
        raise ConfigError(
            f"{path}: is there already and is not overwritten; move it away or choose another name"
        )
    try:
        with whole_file(path, mode=mode) as part:
            part.write_bytes(data)
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}); check the disk and rights"
        ) from error
    return path


def open_to_others(path: Path) -> bool:
    """Whether another account of this machine may read, write or enter."""
    return bool(path.stat().st_mode & 0o077)
