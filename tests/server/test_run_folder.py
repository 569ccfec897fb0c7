"""A run's records survive a crash in the middle of a line."""

from datetime import datetime
from pathlib import Path

from server.run_folder import RunFolder, read_lines


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
