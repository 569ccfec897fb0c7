"""The folder of one run: where a study leaves its records, and where report and progress find them."""

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from shared.errors import StudyError

_HELD: Final = ".held"
_HELD_POLL_SECONDS: Final = 0.2


@dataclass(frozen=True)
class RunFolder:
    """`results/<study>-<run>/`: study.yaml, rounds.jsonl, events.jsonl, checkpoint, weights, report."""

    path: Path

    @property
    def study(self) -> Path:
        """The resolved study."""
        return self.path / "study.yaml"

    @property
    def rounds(self) -> Path:
        """One line a closed round."""
        return self.path / "rounds.jsonl"

    @property
    def events(self) -> Path:
        """One line whenever something worth knowing happened."""
        return self.path / "events.jsonl"

    @property
    def checkpoint(self) -> Path:
        """The study's state after the last finished stage."""
        return self.path / "checkpoint.safetensors"

    @contextmanager
    def held(self, seconds: float) -> Iterator[None]:
        """Keep other processes from working on this study; `StudyError` where one still does after `seconds`.

        A run of Flower can outlive its end in Flower's books, and the one that resumes it begins meanwhile.
        """
        with (self.path / _HELD).open("wb") as file:
            end = time.monotonic() + seconds
            while not _locked(file):
                if time.monotonic() >= end:
                    raise StudyError(
                        f"output {self.path.name}: another run is at work on this study; stop it first, or choose "
                        "another output folder"
                    )
                time.sleep(_HELD_POLL_SECONDS)
            yield

    def is_held(self) -> bool:
        """Tell whether a process is at work on this study now."""
        path = self.path / _HELD
        if not path.exists():
            return False
        with path.open("rb") as file:
            return not _locked(file)

    def record_event(self, event: str, **details: Any) -> None:
        """Append one event with its time (UTC)."""
        _append(
            self.events,
            {"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event} | details,
        )

    def record_round(self, record: dict[str, Any]) -> None:
        """Append one closed round."""
        _append(self.rounds, record)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a .jsonl file; a last line cut off by a crash is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.endswith("\n"):
            yield json.loads(line)


def last_lines(path: Path, most_bytes: int) -> list[dict[str, Any]]:
    """Return the newest records of a .jsonl file, as many whole ones as so many bytes hold; none of a missing one."""
    try:
        with path.open("rb") as file:
            skipped = max(0, file.seek(0, os.SEEK_END) - most_bytes)
            file.seek(skipped)
            held = file.read(most_bytes)
    except FileNotFoundError:
        return []
    lines = held.splitlines(keepends=True)[1 if skipped else 0 :]
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _locked(file: BinaryIO) -> bool:
    """Take the lock of an open file, which ends with its process; whether it was free."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _append(path: Path, record: dict[str, Any]) -> None:
    line = json.dumps(record, sort_keys=True, default=str) + "\n"
    with path.open("a+b") as file:
        file.seek(0)
        before = file.read()
        file.truncate(before.rfind(b"\n") + 1)  # a line cut off by a crash would spoil this one
        file.write(line.encode())
