"""Each rule of what is inside an image finds the file that breaks it, on a small tree; an unbroken tree is good."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.images.inside import entries, look_inside, size
from deploy.images.machine import Traces

CONFIG: dict[str, Any] = {"User": "10001:10001", "Volumes": {"/site": {}, "/site/head": {}}}
TRACES = Traces({"folder /home/ada": b"/home/ada"})
LIBRARY = "opt/rounds/lib/python3.11/site-packages"
KEY = b"-----BEGIN EC PRIVATE " + b"KEY-----\n" + b"MHcCAQEEIIrYSSNQFaA2Hwf583QmwbZhqBbmWyBcIg9YxHd0aT3R\n"


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """Make a base, and an image that adds a program and volumes; owned by whoever runs the test."""
    base, image = tmp_path / "base", tmp_path / "image"
    for root in (base, image):
        for folder in ("tmp", "etc", "var/lib/apt/lists/partial", "usr/bin"):
            (root / folder).mkdir(parents=True)
        (root / "tmp").chmod(0o1777)
        (root / "usr/bin/passwd").write_bytes(b"base")
        (root / "usr/bin/passwd").chmod(0o4755)
    (image / LIBRARY).mkdir(parents=True)
    (image / LIBRARY / "rounds.py").write_bytes(b"x" * 1000)
    for place in ("site", "site/head"):
        (image / place).mkdir()
        own(image / place)
        (image / place).chmod(0o700)
    return base, image


def own(path: Path, owner: int = 10001) -> None:
    """Give a file to the image's user; needs root."""
    os.chown(path, owner, owner)


def written(path: Path, data: bytes = b"", mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "a volume of another": (lambda root: own(root / "site", 0), "volumes are empty"),
    "a volume that others read": (lambda root: (root / "site/head").chmod(0o755), "volumes are empty"),
    "a file in a volume": (lambda root: written(root / "site/keys/node.key"), "volumes are empty"),
    "a program of the user's": (lambda root: own(root / LIBRARY / "rounds.py"), "belong to others"),
    "a file that all write": (lambda root: (root / LIBRARY / "rounds.py").chmod(0o666), "everybody may write"),
    "a new setuid": (lambda root: written(root / "usr/bin/sudo", mode=0o4755), "owner's rights"),
    "a list of apt's": (lambda root: written(root / "var/lib/apt/lists/debian_Packages"), "no cache"),
    "a cache of pip's": (lambda root: written(root / "opt/.cache/pip/http"), "no cache"),
    "a file in /tmp": (lambda root: written(root / "tmp/x"), "no cache"),
    "pip.conf": (lambda root: written(root / "etc/pip.conf"), "no settings"),
    "the repository": (lambda root: written(root / "app/.git/HEAD"), "no settings"),
    "our tests": (lambda root: written(root / "app/tests/test_a.py"), "no settings"),
    "our tests, installed": (lambda root: written(root / LIBRARY / "tests/test_a.py"), "no settings"),
    "a wheel": (lambda root: written(root / "opt/torch.whl"), "no settings"),
    "a module compiled by time": (
        lambda root: written(root / LIBRARY / "__pycache__/a.cpython-311.pyc", b"\xa7\r\r\n" + bytes(12)), "compiled",
    ),
    "a private key": (lambda root: written(root / LIBRARY / "test_keys.py", KEY), "no private key"),
    "a word of the machine": (lambda root: written(root / LIBRARY / "a.py", b"in /home/ada/x"), "words of the machine"),
    "a link to the machine": (lambda root: (root / "opt/a").symlink_to("/home/ada/a"), "words of the machine"),
}  # fmt: skip
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to the image's user: needs root")


@NEEDS_ROOT
def test_an_image_without_fault_is_good(roots: tuple[Path, Path]) -> None:
    """Every rule holds, and the size beyond the base is what was added."""
    base, image = map(entries, roots)
    assert [str(one) for one in look_inside(CONFIG, image, base, TRACES) if one.broken] == []
    assert size(image) - size(base) == 1000


@NEEDS_ROOT
@pytest.mark.parametrize(("spoil", "rule"), BREAKS.values(), ids=BREAKS)
def test_a_fault_breaks_its_rule_alone(
    roots: tuple[Path, Path], spoil: Callable[[Path], object], rule: str
) -> None:
    """One planted fault is told by the one rule that is about it, with the file's place."""
    spoil(roots[1])
    base, image = map(entries, roots)
    broken = [str(one) for one in look_inside(CONFIG, image, base, TRACES) if one.broken]
    assert len(broken) == 1
    assert broken[0].startswith("FAIL")
    assert rule in broken[0]


@NEEDS_ROOT
def test_an_image_of_roots_is_refused(roots: tuple[Path, Path]) -> None:
    """The user that the image names is a rule, too."""
    base, image = map(entries, roots)
    (broken,) = [one for one in look_inside(CONFIG | {"User": "root"}, image, base, TRACES) if one.broken]
    assert broken.broken == ("root",)


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    """Hard links share their bytes."""
    (tmp_path / "a").write_bytes(b"x" * 100)
    os.link(tmp_path / "a", tmp_path / "b")
    assert size(entries(tmp_path)) == 100
