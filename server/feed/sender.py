"""Sending a run's records: in a thread beside the study, by a command, or by the hub for a study that is over.

In: a run's folder with its outbox, and the file that the hub made for it. Out: records at the hub. A hub that is away
never stops or slows a study: what it missed stays in the outbox and is sent when it answers.
"""

import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from server.feed.connection import Connection
from server.feed.credential import FOLDER_VARIABLE, read_credential
from server.feed.delivery import Delivery
from server.store.append import Head
from server.store.intake.outbox import Outbox
from shared.errors import RoundsError, ServiceError

log = logging.getLogger("rounds.feed")
LAST_SECONDS: Final = 10.0  # that the end of a study waits for
_LOOK_SECONDS: Final = 1.0
_LAST_PAUSE_SECONDS: Final = 0.3
_MAX_PAUSE_SECONDS: Final = 60.0
_LASTING_PAUSE_SECONDS: Final = 600.0  # after what no further try alone will mend
_LASTING: Final = {
    grpc.StatusCode.DATA_LOSS, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED,
}  # fmt: skip


@dataclass(frozen=True)
class Failure:
    """Why records could not be sent, in a sentence, and whether only a person can mend it."""

    sentence: str
    lasting: bool


class Sender:
    """Sends one outbox over one channel, which is made anew only when the credential's file changed."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.outbox = Outbox(folder)
        self.head: Head | None = None
        self._file = file
        self._read: float = 0.0  # when the file that is in use was written
        self._connection: Connection | None = None
        self._delivery: Delivery | None = None

    def attempt(self, ends: float = float("inf")) -> Failure | None:
        """Send all there is, until `ends` (time.monotonic()); returns what went wrong, None where all arrived."""
        if not self.outbox.path.is_file():
            return None
        try:
            self.head = self._ready(ends).bring()
        except grpc.RpcError as error:
            failure = _told(error)
        except (
            RoundsError,
            OSError,
            sqlite3.Error,
            ValueError,
        ) as error:  # ValueError: a channel that was closed
            failure = Failure(str(error), isinstance(error, RoundsError))
        else:
            return None
        self._delivery = None  # the next attempt asks for the hub's head again
        return failure

    def waiting(self) -> int:
        """Return how many records the hub has not confirmed."""
        known = 0 if self.head is None else self.head.seq
        return self.outbox.head().seq - known if self.outbox.path.is_file() else 0

    def close(self) -> None:
        """End the channel."""
        if self._connection is not None:
            self._connection.close()
        self._connection = self._delivery = None

    def _ready(self, ends: float) -> Delivery:
        written = self._file.stat().st_mtime if self._file.is_file() else 0.0
        if self._connection is None or written != self._read:
            self.close()
            self._connection, self._read = Connection(read_credential(self._file)), written
        if self._delivery is None:
            self._delivery = Delivery(self.outbox, self._connection)
        self._connection.ends = ends
        return self._delivery


class _Beside:
    """The thread that sends while a study runs."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._ending = threading.Event()
        self._ends = float("inf")
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Let it send the rest, for at most so long."""
        self._ends = time.monotonic() + seconds
        self._ending.set()
        self._thread.join(seconds)
        self._sender.close()  # ends a call in progress
        self._thread.join(1.0)

    def _run(self) -> None:
        tries = 0
        while True:
            last = self._ending.is_set()  # asked first: what was written before the end is then read
            failure = self._sender.attempt(self._ends)
            self._tell(failure)
            if time.monotonic() >= self._ends or (last and (failure is None or failure.lasting)):
                return
            tries = 0 if failure is None else tries + 1
            if last:
                time.sleep(_LAST_PAUSE_SECONDS)
            else:
                self._ending.wait(_pause(failure, tries))

    def _tell(self, failure: Failure | None) -> None:
        """Say once what changed."""
        sentence = "" if failure is None else failure.sentence
        if sentence and sentence != self._told:
            log.warning("feed: %s; the study goes on, and its records wait in its folder", sentence)
        elif self._told and not sentence:
            log.warning("feed: the hub has every record again")
        self._told = sentence


@contextmanager
def feeding(folder: Path) -> Iterator[None]:
    """Send a run's records beside the block, and for a bounded time after it; nothing where no hub takes them."""
    file = credential_file(folder)
    if file is None:
        yield
        return
    beside = _Beside(Sender(folder, file))
    try:
        yield
    finally:
        beside.finish(LAST_SECONDS)


def send_rest(folder: Path, file: Path, seconds: float) -> Head:
    """Send what a run's outbox holds; `ServiceError` where not all of it arrived in so many seconds."""
    sender = Sender(folder, file)
    ends, tries = time.monotonic() + seconds, 0
    try:
        while (failure := sender.attempt(ends)) is not None:
            tries += 1
            pause = _pause(failure, tries)
            if failure.lasting or time.monotonic() + pause >= ends:
                raise ServiceError(
                    f"{folder.name}: {sender.waiting()} records wait in its folder; {failure.sentence}"
                )
            time.sleep(pause)
    finally:
        sender.close()
    return sender.head or Head()


def send_now(folder: Path) -> str:
    """Send what a run's outbox holds where a hub takes it; returns why not all of it arrived, empty where it did."""
    file = credential_file(folder)
    if file is None:
        return ""
    try:
        send_rest(folder, file, LAST_SECONDS)
    except ServiceError as error:
        return str(error)
    return ""


def credential_file(folder: Path) -> Path | None:
    """Return the file with which a run's records are sent; None where no hub takes them, as in a simulation.

    It is in the folder that `ROUNDS_FEED` names, or in the hub's own where the run lies in its `studies`.
    """
    run = folder.resolve()
    named = os.environ.get(FOLDER_VARIABLE)
    places = [Path(named)] if named else []
    places.append(run.parent.parent / "feed" / "own")
    return next((file for place in places if (file := place / f"{run.name}.json").is_file()), None)


def _told(error: grpc.RpcError) -> Failure:
    """Put a call's failure into a sentence."""
    code = error.code()
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED | grpc.StatusCode.CANCELLED:
            sentence = f"the hub does not answer, or does not let this certificate in ({error.details()})"
        case _:
            sentence = f"the hub refused: {error.details()} ({code.name})"
    return Failure(sentence, code in _LASTING)


def _pause(failure: Failure | None, tries: int) -> float:
    """Return the seconds until the next attempt: doubling, and drawn at random so that senders do not come at once."""
    if failure is None:
        return _LOOK_SECONDS
    longest = _LASTING_PAUSE_SECONDS if failure.lasting else min(_MAX_PAUSE_SECONDS, 2.0**tries)
    return random.uniform(longest / 2, longest)
