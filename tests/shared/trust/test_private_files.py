"""Files that hold secrets."""

import stat
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.trust.private_files import open_to_others, private_folder, write_file

PUBLIC = 0o644


def test_a_private_file_is_closed_to_others(tmp_path: Path) -> None:
    """A file is 0600 and its folder 0700 by themselves; a public one may be read."""
    folder = private_folder(tmp_path / "keys")
    secret = write_file(folder / "secret", b"s")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert not open_to_others(secret)
    assert open_to_others(write_file(folder / "open", b"o", mode=PUBLIC))


def test_a_folder_that_is_there_is_closed(tmp_path: Path) -> None:
    """A folder made earlier with wide rights is narrowed."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o755)
    assert not open_to_others(private_folder(folder))


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    """A second write is refused and changes nothing; with `replace` the file is new and as closed as before."""
    path = write_file(tmp_path / "key", b"first")
    with pytest.raises(ConfigError, match="is there already and is not overwritten"):
        write_file(path, b"second")
    assert path.read_bytes() == b"first"
    path.chmod(0o644)
    write_file(path, b"second", replace=True)
    assert path.read_bytes() == b"second"
    assert not open_to_others(path)
    assert [one.name for one in tmp_path.iterdir()] == ["key"]


def test_an_impossible_place_is_one_sentence(tmp_path: Path) -> None:
    """A missing folder, and a file where a folder should be, are told in one line."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_file(tmp_path / "none" / "key", b"")
    with pytest.raises(ConfigError, match="cannot be made"):
        private_folder(tmp_path / "file" / "keys")
