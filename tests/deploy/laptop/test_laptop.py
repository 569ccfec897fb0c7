"""`make federation` beyond the commands that it types: what is shown, what is left running, and how that is stopped.

The commands themselves are typed by tests/system/test_docs_typed.py.
"""

import json
import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.laptop.commands import cli
from deploy.laptop.federation import Ports
from deploy.laptop.parties import KEPT, Party, StepError, running, stop, wait_until, words_read_out


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def party(tmp_path: Path, said: list[str]) -> Party:
    folder = tmp_path / "north"
    folder.mkdir()
    return Party("north", folder, said.append)


def test_commands_are_shown_as_they_can_be_typed(party: Party, said: list[str]) -> None:
    """Place, command with its quotes, and output stand one below the other; the output is returned."""
    told = party.type("python", "-c", "print('two words')")
    assert told == "two words\n"
    assert said == ["""north$ python -c 'print('"'"'two words'"'"')'""", "north | two words"]


def test_a_command_that_fails_ends_the_way(party: Party) -> None:
    """Who typed what, and the exit status, are the error."""
    with pytest.raises(StepError, match=r"north: `python -c 'raise SystemExit\(3\)'` ended with 3"):
        party.type("python", "-c", "raise SystemExit(3)")


def test_words_are_those_below_the_sentence() -> None:
    """The line below is read out; without one it is an error, not silence."""
    assert words_read_out("Send it, and read these words out when\n  one two\nSHA") == "one two"
    with pytest.raises(StepError, match="no words were shown"):
        words_read_out("read these words out")


def test_what_runs_is_found_and_stopped(party: Party, tmp_path: Path, said: list[str]) -> None:
    """A process is known by its number and when it began; it ends, and a second stop finds nothing."""
    party.leave_running(tmp_path / "log", "python", "-c", "import time; time.sleep(600)")
    ((name, process),) = running(tmp_path)
    assert name == "north"
    stop(tmp_path, said.append)
    wait_until(lambda: not process.is_running() or process.status() == "zombie", 20, "its end")
    assert running(tmp_path) == []
    assert not (tmp_path / KEPT).exists()


def test_another_process_of_the_same_number_is_left_alone(tmp_path: Path, said: list[str]) -> None:
    """The process of this test stands in the list with another time of its beginning: it is not ours to stop."""
    (tmp_path / KEPT).write_text(json.dumps([["hub", os.getpid(), 1.0]]), encoding="utf-8")
    assert running(tmp_path) == []
    stop(tmp_path, said.append)
    assert said == []


def test_a_port_that_is_taken_is_named_before_anything_is_made(tmp_path: Path) -> None:
    """Something listens at the hub's port: one sentence, and no folder."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert port in Ports(hub=port).taken()
        done = CliRunner().invoke(cli, ["start", "--folder", str(tmp_path / "new"), "--port", str(port)])
    assert done.exit_code == 1
    assert not (tmp_path / "new").exists()


def test_a_folder_that_is_there_is_not_written_into(tmp_path: Path) -> None:
    """A federation that was made stays; the sentence says how to remove it."""
    done = CliRunner().invoke(cli, ["start", "--folder", str(tmp_path)])
    assert done.exit_code == 1
    assert list(tmp_path.iterdir()) == []
