"""What the system refuses is told as one sentence: which file, why, what to do."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.terminal.command_line import program
from shared.terminal.system_errors import system_sentence


def missing(folder: Path) -> None:
    (folder / "no" / "file").read_bytes()


def below_a_file(folder: Path) -> None:
    (folder / "file").write_text("a")
    (folder / "file" / "below").write_text("b")


def a_folder(folder: Path) -> None:
    (folder / "made").mkdir()
    (folder / "made").write_text("a")


def too_long(folder: Path) -> None:
    (folder / ("n" * 300)).write_text("a")


def full(_folder: Path) -> None:
    path = Path("/dev/full")  # Linux: every write fails as on a full disk, and names no file
    with path.open("w") as file:
        file.write("a")
        file.flush()


@pytest.mark.parametrize(
    ("fails", "file", "cause", "todo"),
    [
        (missing, "no/file", "no such file", "check the path"),
        (below_a_file, "file/below", "not a directory", "a part of the path is a file"),
        (a_folder, "made", "is a directory", "give a file"),
        (too_long, "nnn", "file name too long", "255 bytes"),
        (full, "/dev/full", "no space left", "free space on its volume, then run the same command again"),
    ],
)
def test_a_sentence_names_file_cause_and_remedy(
    tmp_path: Path, fails: Callable[[Path], None], file: str, cause: str, todo: str
) -> None:
    """Also where the system itself names no file, as for a write to a full disk."""
    with pytest.raises(OSError, match="Errno") as refused:
        fails(tmp_path)
    sentence = system_sentence(refused.value)
    assert file in sentence.split(": ", 1)[0]
    assert cause in sentence
    assert todo in sentence
    assert "\n" not in sentence


def test_a_name_that_is_no_text_is_shown_nevertheless() -> None:
    """A path that is no UTF-8 is shown with a sign in its place, which any terminal takes."""
    sentence = system_sentence(PermissionError(errno.EACCES, "Permission denied", b"/data/\xff\xfe"))
    assert sentence.startswith("/data/??: permission denied; ")


def test_a_command_line_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A command of hub or site that may not write ends with exit status 1 and one sentence, no traceback."""
    app = program("a program")

    @app.callback()
    def several() -> None:
        """Have more than one command, as hub and site do."""

    @app.command()
    def write() -> None:
        """Write below a file."""
        below_a_file(tmp_path)

    with pytest.raises(SystemExit) as ended:
        app(["write"])
    assert ended.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"Error: {tmp_path}/file/below: not a directory; ")
