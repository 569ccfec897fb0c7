"""A file is replaced at once, or not at all, whatever happens in between."""

import os
from pathlib import Path

import pytest

from shared.whole_file import whole_file


def test_a_reader_sees_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    """Until the block ends the name holds what it held; then all of the new one, and nothing beside it."""
    path = tmp_path / "state.json"
    path.write_text("old")
    with whole_file(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
        assert part.stat().st_mode & 0o777 == 0o600
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("new", 0o644)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_fails_leaves_what_was_there(tmp_path: Path, error: type[BaseException]) -> None:
    """A failure, or Ctrl-C, in the block leaves the old file and no part."""
    path = tmp_path / "state.json"
    path.write_text("old")

    def write() -> None:
        with whole_file(path) as part:
            part.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("state.json", "old")]


def test_a_disk_that_does_not_keep_it_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the content cannot be made durable the old file stays."""
    path = tmp_path / "state.json"
    path.write_text("old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), whole_file(path) as part:
        part.write_text("new")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("state.json", "old")]
    with whole_file(path, durable=False) as part:
        part.write_text("new")
    assert path.read_text() == "new"


def test_no_other_module_replaces_a_file_by_hand() -> None:
    """Outside of this module a file takes another's name only where it was staged by its own rules."""
    root = Path(__file__).resolve().parents[2]
    by_hand = {
        file.relative_to(root).as_posix()
        for folder in ("client", "server", "shared", "deploy")
        for file in (root / folder).rglob("*.py")
        if ".mkstemp(" in file.read_text(encoding="utf-8")
    }
    assert by_hand == {"shared/whole_file.py"}
