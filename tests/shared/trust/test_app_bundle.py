"""A bundle is taken apart as it would run, or refused."""

import re
import zipfile
from pathlib import Path

import pytest

from shared.code_digest import code_digest
from shared.errors import DataError
from shared.trust.app_bundle import opened_bundle, read_bundle
from tests.probe_app import build, write_app

REPOSITORY = Path(__file__).resolve().parents[3]


def zipped(path: Path, names: list[str], content: bytes = b"x = 1\n") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def test_a_bundle_of_this_code_has_its_digest(tmp_path: Path) -> None:
    """Built by Flower from this repository, a bundle says the digest that its code says once it runs."""
    (tmp_path / "app").symlink_to(REPOSITORY)
    found = read_bundle(build(tmp_path / "app"))
    assert found.code_digest == code_digest()
    assert found.app == ("@teaching-rounds/teaching-rounds", "0.1.0")
    assert "client/app.py" in found.files


def test_it_is_known_by_flower_s_own_hash(tmp_path: Path) -> None:
    """One changed byte of a file makes another SHA-256; the app's name and version stay."""
    one = read_bundle(build(write_app(tmp_path / "one", "1.2.3")))
    two = read_bundle(build(write_app(tmp_path / "two", "1.2.3", "#")))
    assert re.fullmatch(r"[0-9a-f]{64}", one.sha256)
    assert one.sha256 != two.sha256
    assert one.app == two.app == ("@rounds/probe", "1.2.3")


@pytest.mark.parametrize(
    "names",
    [["../a.py"], ["/a.py"], ["client//a.py"], ["client/./a.py"], ["a\x1b[2K.py"], ["a\u202epy.py"], ["A.py", "a.py"]],
)  # fmt: skip
def test_a_name_that_misleads_is_refused(tmp_path: Path, names: list[str]) -> None:
    """Names that leave the folder, hide signs, or are one name to some file systems are refused."""
    with pytest.raises(DataError, match="do not approve it"):
        read_bundle(zipped(tmp_path / "b.fab", [".info/CONTENT", *names]))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """A reader could be shown the first, while Flower unpacks the second."""
    with pytest.raises(DataError, match="twice"):
        read_bundle(zipped(tmp_path / "b.fab", [".info/CONTENT", "client/a.py", "client/a.py"]))


def test_what_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """No zip, a zip that Flower did not build, one that unpacks too large, and no file: one sentence each."""
    with pytest.raises(DataError, match="no zip file"):
        opened_bundle(b"PK\x03\x04 no")
    with pytest.raises(DataError, match="Flower did not build it"):
        read_bundle(zipped(tmp_path / "b.fab", ["a.py"]))
    with pytest.raises(DataError, match="cannot be read"):
        read_bundle(tmp_path / "none.fab")
    with zipfile.ZipFile(tmp_path / "bomb.fab", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.py", b" " * (81 << 20))
    with pytest.raises(DataError, match="unpacks to more"):
        read_bundle(tmp_path / "bomb.fab")
