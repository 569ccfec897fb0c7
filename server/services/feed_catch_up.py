"""What finished studies left: records that the hub itself sends, because their process is gone.

In: the hub's studies and their outboxes. Out: records at the feed, each under its own run's certificate. A thread of
the supervisor's; a study whose process still runs is left to that process.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from server.feed.sender import Sender
from server.store.intake.outbox import FILE
from server.studies.submissions import SubmittedStudy, all_studies
from shared.errors import RoundsError

log = logging.getLogger("rounds.hub")
_LOOK_SECONDS: Final = 3.0
_STUDY_SECONDS: Final = 60.0  # that one study may keep the others waiting
_LATER_SECONDS: Final = 600.0  # until what only a person can mend is tried again
Signature = tuple[tuple[int, int], ...]


@dataclass
class Leftovers:
    """Looks at every study that is over, and sends what is new in its outbox; `file_of` makes a run's file."""

    studies: Path
    file_of: Callable[[str], Path]
    _sent: dict[str, Signature] = field(
        default_factory=dict
    )  # how an outbox looked when all of it had arrived
    _not_before: dict[str, float] = field(default_factory=dict)
    _end: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Look about every 3 s, until this process ends."""
        threading.Thread(target=self._run, name="leftovers", daemon=True).start()

    def look(self) -> bool:
        """Send what is new; returns False where the hub's feed does not answer."""
        for study in all_studies(self.studies):
            signature = _signature(study)
            new = signature and signature != self._sent.get(study.path.name)
            if new and self._may(study) and not self._send(study, signature):
                return False
        return True

    def _send(self, study: SubmittedStudy, signature: Signature) -> bool:
        name = study.path.name
        sender = Sender(study.path, self.file_of(name))
        try:
            failure = sender.attempt(time.monotonic() + _STUDY_SECONDS)
        finally:
            sender.close()
        if failure is None:
            self._sent[name] = signature
        elif failure.lasting:
            log.error("%s: records wait in its folder; %s", name, failure.sentence)
            self._not_before[name] = time.monotonic() + _LATER_SECONDS
        return failure is None or failure.lasting

    def _may(self, study: SubmittedStudy) -> bool:
        try:
            running = study.read().state in {"running", "stopping"}
        except RoundsError:  # a damaged submission still has its records
            running = False
        return not running and time.monotonic() >= self._not_before.get(study.path.name, 0.0)

    def _run(self) -> None:
        told = False
        while not self._end.wait(_LOOK_SECONDS):
            try:
                self.look()
                told = False
            except (RoundsError, OSError) as error:
                if not told:
                    log.error("feed: %s", error)
                told = True


def _signature(study: SubmittedStudy) -> Signature:
    """Return sizes and times of an outbox's files; empty where there is none."""
    files = [study.path / FILE, study.path / f"{FILE}-wal"]
    found = [file.stat() for file in files if file.is_file()]
    return tuple((one.st_mtime_ns, one.st_size) for one in found)
