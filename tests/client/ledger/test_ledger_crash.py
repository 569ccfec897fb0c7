"""Killed at any line, the ledger stays whole and no request is ever answered twice."""

import fcntl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from client.ledger.ledger import Ledger, RequestKey
from shared.config.site import Cap
from shared.privacy.mechanisms import Declared

REPOSITORY = Path(__file__).parents[3]
REQUEST = RequestKey(study_uid="study-1", round=1, kind="update")
MECHANISM = Declared(epsilon=1.0, delta=0)  # needs no accountant library, so that a child starts quickly
COMMON = """
import os, sys
from pathlib import Path
from client.ledger.ledger import Ledger, RequestKey
from shared.config.site import Cap
from shared.privacy.mechanisms import Declared
root = Path(sys.argv[1])

def answer(folder, round_=1, epsilon=1.0):
    with Ledger.open(folder / "site.ledger", folder / "heads") as ledger:
        reservation = ledger.reserve(
            RequestKey(study_uid="study-1", round=round_, kind="update"), "a" * 64,
            Declared(epsilon=epsilon, delta=0), "train", Cap(epsilon=6.0),
        )
        if reservation.stored is None:
            ledger.commit(reservation, b"reply %d" % round_)
"""
# One process for each line of the ledger's code; the kernel ends it there, nothing is cleaned up.
KILL_AT_EACH_LINE = """
FILES = ("ledger.py", "ledger_file.py", "ledger_schema.py", "head_file.py")
line = 0
while True:
    (folder := root / f"{line:04}").mkdir()
    child = os.fork()
    if child == 0:
        left = line
        def trace(frame, event, arg):
            global left
            if not frame.f_code.co_filename.endswith(FILES):
                return None
            if event == "line":
                if left == 0:
                    os.kill(os.getpid(), 9)
                left -= 1
            return trace
        sys.settrace(trace)
        answer(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    assert os.WTERMSIG(status) == 9
    line += 1
"""
RACE = """
from shared.errors import Refusal
for number in range(5):
    try:
        answer(root, int(sys.argv[2]) + number)
    except Refusal as refusal:
        assert refusal.code == "budget_spent"
"""


@pytest.fixture
def fast_folder() -> Iterator[Path]:
    """Give a folder in memory where there is one: a kill loses nothing that the kernel already holds."""
    memory = Path("/dev/shm")  # noqa: S108 - a fresh folder of our own inside it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def start(script: str, *arguments: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Start a child that runs the common part and a script."""
    command = [sys.executable, "-c", COMMON + script, *arguments]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=stdout)


def test_kill_at_any_line_leaves_one_answer(fast_folder: Path) -> None:
    """Ended at each line of opening, reserving and committing: it opens, repeats and has spent once."""
    with start(KILL_AT_EACH_LINE, str(fast_folder)) as child:
        assert child.wait() == 0
    states = set()
    folders = sorted(fast_folder.iterdir())
    for folder in folders:
        with Ledger.open(folder / "site.ledger", folder / "heads") as ledger:
            rows = ledger.verify()
            assert len(ledger.mechanisms("train")) == min(rows, 1)
            reservation = ledger.reserve(REQUEST, "a" * 64, MECHANISM, "train", Cap(epsilon=1.0))
            assert reservation.stored == (b"reply 1" if rows == 2 else None)
            if reservation.stored is None:
                ledger.commit(reservation, b"reply 1")
            assert ledger.mechanisms("train") == [MECHANISM]
            assert ledger.verify() == 2
        states.add(rows)
    assert states == {0, 1, 2}  # the crashes fell before, between and after the two writes
    assert len(folders) > 100


def test_two_processes_never_both_spend(tmp_path: Path) -> None:
    """Two processes that ask for five rounds each get six together where the cap pays for six."""
    children = [start(RACE, str(tmp_path), first) for first in ("0", "100")]
    assert [child.wait() for child in children] == [0, 0]
    with Ledger.open(tmp_path / "site.ledger", tmp_path / "heads") as ledger:
        assert ledger.mechanisms("train") == [MECHANISM] * 6
        assert ledger.verify() == 12


def test_writer_waits_for_the_lock(tmp_path: Path) -> None:
    """While one process holds the site's lock another neither reserves nor commits, and then it does."""
    with Ledger.open(tmp_path / "site.ledger", tmp_path / "heads") as ledger:
        with (tmp_path / "site.ledger.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            child = start("print('ready', flush=True)\nanswer(root)", str(tmp_path), stdout=subprocess.PIPE)
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(timeout=1)
        assert child.wait() == 0
        child.stdout.close()
        assert ledger.verify() == 2
