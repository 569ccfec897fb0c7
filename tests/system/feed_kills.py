"""Kill a study's process and the hub's feed hard, again and again, and see whether anything is lost, doubled or moved.

`python -m tests.system.feed_kills --kills 40` runs one undisturbed transfer and one in which either process is killed
with -9 at random moments, and compares the two stores, row by row and hash by hash; exit status 1 unless they are
equal. It also prints how long 5,000 records take. `--seed` repeats the moments as far as a machine can.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from server.feed.chain_check import check_chains
from server.feed.credential import FOLDER_VARIABLE
from server.feed.health_probe import FeedProbe
from server.feed.sender import Sender, send_rest
from server.feed.sender_certificates import hub_senders
from server.hub.certificates import Names
from server.hub.hub_folder import STORE_VARIABLE, HubFolder, make_hub
from server.store.database import open_store
from server.store.intake.outbox import Outbox
from server.store.schema import METADATA
from shared.processes.supervisor import free_port
from tests.feed_hub import RUN, events
from tests.system.deployed import REPOSITORY, environment, wait_until

RECEIVER, STUDY = "receiver", "study"
OF_ITS_OWN = {"received", "last_received", "seal"}  # columns that hold this machine's clock
SECONDS = 180


@dataclass
class Feed:
    """A hub with its feed as a process, and a study as another; the feed's clock is off by the seconds in `clock`."""

    folder: Path
    total: int
    store: Path
    clock: Path | None = None
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.hub: HubFolder = make_hub(
            self.folder / "hub", "tiny", "127.0.0.1:8443", Names.of([], ["127.0.0.1"])
        )
        self.address = f"127.0.0.1:{self.port}"
        self.file = hub_senders(self.hub).issue_own(RUN, self.address, self.hub.ca_file.read_bytes())
        self.probe = FeedProbe(self.hub, self.address)
        self.run = self.hub.path / "studies" / RUN
        self.run.mkdir(parents=True)  # whichever process is first
        self.allowed = self.folder / "allowed"
        self.allow(0)

    def allow(self, number: int) -> None:
        """Let the study write up to so many records."""
        part = self.folder / "allowed.part"
        part.write_text(str(number))
        part.replace(self.allowed)

    def start(self, what: str) -> None:
        """Start a process, again where it was killed."""
        words = {
            RECEIVER: ["server.main", "feed", "serve", "--hub", str(self.hub.path), "--listen", self.address],
            STUDY: ["tests.system.feed_study", str(self.run), str(self.total), str(self.allowed)],
        }[what]
        if what == RECEIVER and self.clock is not None:
            words = ["tests.system.set_back", str(self.clock), *words]
        own = {STORE_VARIABLE: str(self.store), FOLDER_VARIABLE: str(self.file.parent)}
        with (self.folder / f"{what}.log").open("ab") as log:
            self.running[what] = subprocess.Popen(
                [sys.executable, "-m", *words], env=environment() | own, cwd=REPOSITORY,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self, what: str) -> None:
        """Kill a process hard, and start it again."""
        self.running[what].kill()
        self.running.pop(what).wait()
        self.start(what)

    def waiting(self) -> int:
        """Return how many records the study has written and the store does not have."""
        return Outbox(self.run).head().seq - self.kept() if (self.run / "outbox.sqlite").is_file() else 0

    def wait_for_records(self) -> None:
        """Wait until the study has written what the store does not have."""
        end = time.monotonic() + SECONDS
        while self.waiting() == 0:
            assert time.monotonic() < end, "the study writes nothing"
            time.sleep(0.005)

    def kept(self) -> int:
        """Return how many records of the study the store has."""
        if not self.store.is_file():
            return 0
        engine = sa.create_engine(f"sqlite:///file:{self.store}?mode=ro&uri=true")
        try:
            with engine.connect() as connection:
                query = sa.text("SELECT coalesce(max(seq), 0) FROM records WHERE source LIKE 'study/%'")
                return int(connection.execute(query).scalar_one())
        except sa.exc.OperationalError:  # its tables are being made
            return 0
        finally:
            engine.dispose()

    def finish(self) -> None:
        """Let the study write all there is, wait for its end, and for all of it to be in the store."""
        self.allow(self.total)
        assert self.running[STUDY].wait(SECONDS) == 0
        wait_until(self.probe.serves, SECONDS, "the feed")
        send_rest(self.run, self.file, SECONDS)

    def end(self) -> None:
        """End what runs."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.wait(timeout=30)
        self.probe.close()


@contextmanager
def feed(folder: Path, total: int, store: Path | None = None, clock: Path | None = None) -> Iterator[Feed]:
    """Start both processes; on leaving, they have ended."""
    made = Feed(folder, total, store or folder / "store.sqlite", clock)
    made.start(RECEIVER)
    made.start(STUDY)
    try:
        yield made
    finally:
        made.end()


def undisturbed(folder: Path, total: int) -> dict[str, list[Any]]:
    """Return what a store holds after a transfer that nobody disturbed."""
    with feed(folder, total) as made:
        made.finish()
    return contents(made.store)


def struck(made: Feed, kills: int, moments: random.Random) -> dict[str, int]:
    """Kill either side at random moments while the study goes on, every other time with records on their way.

    Returns how often each was killed, and how often records were on their way.
    """
    counts = {RECEIVER: 0, STUDY: 0, "records were on their way": 0}
    for number in range(1, kills + 1):
        made.allow(made.total * number // (kills + 1))
        if number % 2:
            time.sleep(moments.uniform(0.0, 4.0))  # a process may be starting, connecting, sending or waiting
        else:
            made.wait_for_records()
            time.sleep(moments.uniform(0.0, 0.1))
        what = moments.choice((RECEIVER, STUDY))
        counts["records were on their way"] += made.waiting() > 0
        counts[what] += 1
        made.kill(what)
    return counts


def contents(store: Path) -> dict[str, list[Any]]:
    """Return every table's rows without the columns of this machine's clock; the chains are checked, too."""
    engine = open_store(store)
    check_chains(engine)
    found = {}
    with engine.connect() as connection:
        for table in METADATA.sorted_tables:
            columns = [column for column in table.columns if column.name not in OF_ITS_OWN]
            rows = connection.execute(sa.select(*columns).order_by(*table.primary_key.columns))
            found[table.name] = [tuple(map(repr, row)) for row in rows]
    engine.dispose()
    return found


def time_of(folder: Path, number: int) -> tuple[float, float]:
    """Return the seconds, and this process's own, that so many records take between two processes."""
    with feed(folder, 0) as made:
        wait_until(made.probe.serves, SECONDS, "the feed")
        made.running[STUDY].wait(SECONDS)
        Outbox(made.run).add("timed", *events(number))
        sender = Sender(made.run, made.file)
        begin, own = time.monotonic(), time.process_time()
        failure = sender.attempt()
        seconds, own = time.monotonic() - begin, time.process_time() - own
        sender.close()
        assert failure is None, failure
        assert made.kept() == number
    return seconds, own


def main() -> int:
    """Print what was seen; returns the exit status."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=40)
    options.add_argument("--total", type=int, default=1040, help="records")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    chosen = options.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rounds-feed-"))
    expected = undisturbed(folder / "undisturbed", chosen.total)
    begin = time.monotonic()
    with feed(folder / "killed", chosen.total) as made:
        counts = struck(made, chosen.kills, random.Random(chosen.seed))
        made.finish()
    found = contents(made.store)
    different = [name for name in expected if expected[name] != found[name]]
    print(f"seed {chosen.seed}: {chosen.kills} kills in {time.monotonic() - begin:.0f} s: {counts}")
    print(
        f"{len(found['records'])} records, {len(found['blobs'])} blobs; tables that differ: {different or 'none'}"
    )
    seconds, own = time_of(folder / "timed", 5000)
    load = os.getloadavg()[0]
    print(f"5,000 records with mutual TLS: {seconds:.2f} s, {own:.2f} s of it the sender's; load {load:.1f}")
    print(f"everything is in {folder}")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
