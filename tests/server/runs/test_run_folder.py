"""A run's records survive a crash in the middle of a line."""

from datetime import datetime
from pathlib import Path

import pytest

from server.runs.run_folder import RunFolder, read_lines
from shared.errors import StudyError


def test_events_have_their_time(tmp_path: Path) -> None:
    """Events come back in order, with their details and a time in UTC."""
    folder = RunFolder(tmp_path)
    folder.record_event("enrolled", site="north", declared_patients=5)
    folder.record_event("deadline", site="söuth\u2028")
    first, second = read_lines(folder.events)
    assert (first["event"], first["site"], first["declared_patients"]) == ("enrolled", "north", 5)
    assert datetime.fromisoformat(first["time"]).utcoffset().total_seconds() == 0
    assert second["site"] == "söuth\u2028"


def test_no_file_no_records(tmp_path: Path) -> None:
    """A run that recorded nothing has no records."""
    assert list(read_lines(RunFolder(tmp_path).rounds)) == []


def test_a_cut_last_line_is_left_out(tmp_path: Path) -> None:
    """Wherever a crash cuts the last line, the lines before it are read and nothing else."""
    folder = RunFolder(tmp_path)
    folder.record_round({"round": 1})
    whole = folder.rounds.read_bytes()
    for length in range(len(whole)):
        folder.rounds.write_bytes(whole + whole[:length])
        assert list(read_lines(folder.rounds)) == [{"round": 1}]


def test_a_resumed_run_writes_on_after_a_cut_line(tmp_path: Path) -> None:
    """A record written after a crash is not spoilt by the cut line before it."""
    folder = RunFolder(tmp_path)
    folder.record_round({"round": 1})
    with folder.rounds.open("a") as file:
        file.write('{"round": 2, "te')
    folder.record_round({"round": 2})
    assert list(read_lines(folder.rounds)) == [{"round": 1}, {"round": 2}]


def test_one_run_at_a_time_works_on_a_study(tmp_path: Path) -> None:
    """While one holds the folder another is refused after its patience; afterwards it may."""
    folder = RunFolder(tmp_path)
    with folder.held(0), pytest.raises(StudyError, match="another run is at work"), folder.held(0.3):
        pass
    with folder.held(0):
        pass
