"""A study's process, as far as the feed sees it: writes records into its outbox, and sends them beside.

`python -m tests.system.feed_study RUN_FOLDER TOTAL ALLOWED` goes on where the outbox ends and stops at TOTAL records;
it never writes more than the number in the file ALLOWED, so that whoever kills it decides when. Record N is the same
whenever it is written: bodies and blobs are those of made studies, and the clock is set back by an hour in the middle.
"""

import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from server.feed.sender import feeding
from server.store.chain import Record, link
from server.store.intake import outbox as writing
from server.store.intake.outbox import Blob, Outbox
from tests.audit_records import START, small_study

BATCH = 4  # records in one transaction
LARGE_BYTES = 2_500_000  # of one blob a study: three pieces on their way
SET_BACK = timedelta(hours=1)


def write(folder: Path, total: int, allowed: Path) -> None:
    """Write all records, sending beside."""
    entries, outbox = small_study(), Outbox(folder)
    writing.link = at_its_time(total)
    folder.mkdir(parents=True, exist_ok=True)
    with feeding(folder):
        while (done := outbox.head().seq) < total:
            if done >= int(allowed.read_text()):
                time.sleep(0.02)
                continue
            study, first = divmod(done, len(entries))
            some = entries[first : min(first + BATCH, first + total - done)]
            blobs = [blob for _, named in some for blob in named] + large(study, first)
            outbox.add(f"study-{study}", *(body for body, _ in some), blobs=blobs)


def large(study: int, first: int) -> list[Blob]:
    """Return the large blob that stands at the begin of each study."""
    return [Blob(bytes([study]) * LARGE_BYTES, "application/octet-stream")] if first == 0 else []


def at_its_time(total: int) -> Any:
    """Return `link` with a clock of the number's own, which loses an hour in the middle."""

    def linked(before: str, seq: int, study_uid: str, body: Any) -> Record:
        moment = START + timedelta(seconds=seq) - (SET_BACK if seq > total // 2 else timedelta())
        return link(before, seq, study_uid, body, moment)

    return linked


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
