"""However a demo is ended, nothing of it goes on, it says so in one sentence, and the next ones work.

The whole list, each way at each moment, is `python -m tests.system.process_ends`.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from server.runs.run_folder import read_lines
from shared.config.files import read_study
from tests.system.process_ends import LONG_TMPDIR, STRANGE, completed, completed_at_once, ended, small_volume
from tests.system.small_demo import BUDGETS, FILED, HOSPITALS, small_study

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
        ("SIGKILL", "starting Flower", -9),
        ("Ctrl-C twice", "in a round", 130),
        ("terminal closed", "in a round", 129),
        ("Ctrl-C", "preparing", 130),
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


def test_two_demos_at_once_complete_where_others_were_ended(folder: Path) -> None:
    """After all that two demos begun at once run to their ends: one prepares, each states the epsilon it was asked."""
    settings = [f"privacy.epsilon={epsilon}" for epsilon in BUDGETS]
    ends = completed_at_once(folder, *settings, tmpdir=LONG_TMPDIR)
    said = [end.said for end in ends]
    assert [end.status for end in ends] == [0, 0], said
    assert all(end.is_clean for end in ends)
    assert all(f"Report: {folder}/results/tiny-" in one for one in said)  # it names its folder as it is
    assert sum("Waiting for another process that prepares" in one for one in said) <= 1
    assert sum("warm start: 1 of" in one for one in said) == 1  # made once
    runs = sorted(path.parent for path in folder.glob("results/tiny-*/asked.yaml"))
    stated = {read_study(run / "study.yaml").privacy.epsilon: spent(run) for run in runs}
    assert set(stated) == set(BUDGETS)
    for epsilon, found in stated.items():
        assert set(found) == set(HOSPITALS)
        assert all(0.95 * epsilon <= one <= epsilon for one in found.values()), stated
    prepared = read_study(folder / "results" / "workspaces" / "phantoms" / "study.yaml")
    assert prepared.privacy.epsilon == FILED  # the file's: what demos set is no matter of a later plain run


def spent(run: Path) -> dict[str, float]:
    """Return what the sites of a run stated last."""
    lines: list[dict[str, Any]] = list(read_lines(run / "rounds.jsonl"))
    return dict(lines[-1]["epsilon"])


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
