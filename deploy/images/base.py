"""A Debian with Python 3.11 made on the spot, where the image that the Dockerfiles name cannot be had."""

import subprocess
import tempfile
from pathlib import Path

from deploy.images.storage import ImageError, Storage

BASE = "localhost/teaching-rounds-base:bookworm"
_PACKAGES = "python-is-python3,python3-venv,ca-certificates"
_WITHOUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_DOCKERFILE = "FROM scratch\nADD base.tar /\n"
# what mmdebstrap copies from this machine, and what its work left
_LEFT = "etc/hostname etc/resolv.conf var/log/* var/cache/debconf/* var/cache/ldconfig/*"


def make_base(storage: Storage, mirror: str, log: Path) -> None:
    """Make the base as an image of one layer; without a mirror from the one that mmdebstrap takes."""
    with tempfile.TemporaryDirectory(dir=storage.folder) as scratch:
        folder = Path(scratch)
        options = [f"--dpkgopt=path-exclude={pattern}" for pattern in _WITHOUT]
        clean = f'--customize-hook=cd "$1" && rm -rf {_LEFT}'
        with log.open("ab") as file:
            done = subprocess.run(
                ["mmdebstrap", "--variant=apt", f"--include={_PACKAGES}", *options, clean, "bookworm",
                 str(folder / "base.tar"), *filter(None, [mirror])],
                stdout=file, stderr=file, check=False,
            )  # fmt: skip
        if done.returncode:
            raise ImageError(f"mmdebstrap: ended with {done.returncode}; its words are in {log}")
        (folder / "Dockerfile").write_text(_DOCKERFILE, encoding="utf-8")
        storage.build(folder / "Dockerfile", BASE, folder, arguments={}, log=log)
