"""However a demo is ended, nothing of it goes on, it says so in one sentence, and the next one works.

The whole list, each way at each moment, is `python -m tests.system.process_ends`.
"""

import shutil
import sys
from pathlib import Path

import pytest

from tests.system.process_ends import LONG_TMPDIR, STRANGE, completed, ended, small_volume
from tests.system.small_demo import small_study

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are found by /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with a small study whose name has brackets, quotes and an emoji."""
    made = tmp_path_factory.mktemp("ends") / STRANGE
    made.mkdir()
    small_study(made)
    return made


@pytest.mark.parametrize(
    ("way", "moment", "status"),
    [
        ("Ctrl-C", "preparing", 130),
        ("SIGKILL", "starting Flower", -9),
        ("Ctrl-C twice", "in a round", 130),
        ("terminal closed", "in a round", 129),
    ],
)
def test_nothing_is_left(folder: Path, way: str, moment: str, status: int) -> None:
    """No process, no folder and no traceback is left, in a folder of any name and with a cluster's long TMPDIR."""
    if moment == "preparing":
        shutil.rmtree(folder / "results", ignore_errors=True)
    end = ended(folder, way, moment, tmpdir=LONG_TMPDIR)
    assert (end.status, end.left) == (status, []), end.said
    assert "Traceback" not in end.said
    if way != "SIGKILL":
        assert end.last_words.startswith("Ended ("), end.said


def test_a_demo_completes_where_others_were_ended(folder: Path) -> None:
    """After all that the same command runs to its end, and names its folder as it is."""
    end = completed(folder, tmpdir=LONG_TMPDIR)
    assert end.status == 0, end.said
    assert end.is_clean
    assert f"Report: {folder}/results/tiny-" in end.said


@pytest.mark.parametrize(("size", "readonly"), [("1m", False), ("1m", True)])
def test_a_volume_that_takes_nothing_is_named(tmp_path: Path, size: str, readonly: bool) -> None:
    """On a full or read-only volume the last words are one sentence: file, cause, what to do."""
    try:
        with small_volume(tmp_path / "volume", size, readonly=readonly) as volume:
            end = completed(volume, command="prepare")
    except PermissionError as error:
        pytest.skip(str(error))
    assert end.status == 1
    assert end.is_clean, end.said
    cause = "read-only file system; " if readonly else "no space left on device; "
    assert end.last_words.startswith("Error: ")
    assert "results" in end.last_words
    assert cause in end.last_words, end.said
