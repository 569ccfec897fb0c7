"""The feed between real processes: killed, on a full disk, with a clock set back, on PostgreSQL.

`python -m tests.system.feed_kills --kills 40` is the long form of the first.
"""

import os
import random
import signal
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.feed.sender import Sender
from server.store.database import open_store
from server.store.intake.outbox import Outbox
from server.store.schema import RECORDS
from tests.audit_records import small_study
from tests.feed_hub import events, feed_hub
from tests.needs import SMALL_DISKS
from tests.postgres import missing_postgres, postgres_server
from tests.system.deployed import wait_until
from tests.system.disks import fill, small_disk
from tests.system.feed_kills import RECEIVER, SECONDS, contents, feed, struck, undisturbed

TOTAL = 208
UID = "tried"


def test_kills_lose_nothing_double_nothing_and_move_nothing(tmp_path: Path) -> None:
    """Either process killed with -9 six times: every table equals that of an undisturbed run, chain and blobs too."""
    expected = undisturbed(tmp_path / "undisturbed", TOTAL)
    with feed(tmp_path / "killed", TOTAL) as made:
        counts = struck(made, 6, random.Random(20261120))
        made.finish()
    assert counts["records were on their way"] > 0
    assert contents(made.store) == expected
    assert len(expected["records"]) == TOTAL == len(small_study())


@SMALL_DISKS
def test_a_full_disk_at_the_hub_stops_nothing_and_loses_nothing(tmp_path: Path) -> None:
    """Real ENOSPC under the store: the hub says that it cannot keep records, and keeps them all when there is room."""
    with (
        small_disk(tmp_path / "disk", 3 * 2**20) as disk,
        feed(tmp_path / "feed", 0, disk / "store.sqlite") as made,
    ):
        wait_until(made.probe.serves, SECONDS, "the feed")
        outbox = Outbox(made.run)
        outbox.add(UID, *events(50))
        sender = Sender(made.run, made.file)
        assert sender.attempt() is None
        filler = disk / "filler"
        fill(filler)
        outbox.add(UID, *events(4000, first=51))
        failure = sender.attempt()
        assert failure is not None
        assert not failure.lasting
        assert failure.sentence == (
            "the hub does not answer, or does not let this certificate in "
            "(the hub cannot keep records now; keep them and send again)"
        )
        assert made.probe.serves()
        assert made.kept() < 4050
        filler.unlink()
        assert sender.attempt() is None
        sender.close()
        made.running[RECEIVER].send_signal(signal.SIGTERM)
        assert made.running[RECEIVER].wait(SECONDS) == 0
        rows = contents(made.store)["records"]
    assert "database or disk is full" in (tmp_path / "feed" / "receiver.log").read_text()
    assert [row[-1] for row in rows] == [repr(record.chain) for record in outbox.after(0, 5000)]


@SMALL_DISKS
def test_a_full_disk_at_the_sender_leaves_its_outbox_whole(tmp_path: Path) -> None:
    """What could not be written is not there; what is written later follows, and all of it arrives."""
    with small_disk(tmp_path / "disk", 2**20) as disk, feed_hub(tmp_path / "hub") as hub:
        outbox = Outbox(disk)
        outbox.add(UID, *events(10))
        fill(disk / "filler")
        with pytest.raises(sqlite3.OperationalError, match=r"full|disk I/O error"):
            outbox.add(UID, *events(3000, first=11))
        (disk / "filler").unlink()
        outbox.add(UID, *events(5, first=11))
        sender = Sender(disk, hub.file())
        assert sender.attempt() is None
        sender.close()
        assert hub.records() == outbox.after(0, 100)
        assert [record.seq for record in hub.records()] == [*range(1, 16)]


def test_clocks_set_back_change_neither_order_nor_chain(tmp_path: Path) -> None:
    """The study's clock loses an hour and the hub's two while they work: the tables are those of an undisturbed run."""
    expected = undisturbed(tmp_path / "undisturbed", TOTAL)
    clock = tmp_path / "clock"
    clock.write_text("0")
    with feed(tmp_path / "back", TOTAL, clock=clock) as made:
        for part, seconds in ((TOTAL // 3, -7200), (2 * TOTAL // 3, 0)):
            made.allow(part)
            wait_until(lambda at=part: made.kept() >= at, SECONDS, "a third of the records")
            clock.write_text(str(seconds))
        made.finish()
    assert contents(made.store) == expected
    store = open_store(made.store)
    with store.connect() as connection:
        rows = connection.execute(sa.select(RECORDS.c.time, RECORDS.c.received).order_by(RECORDS.c.id)).all()
    store.dispose()
    assert (
        rows[TOTAL // 2].received < rows[0].received < rows[-1].received
    )  # the hub's clock had been set back
    assert rows[TOTAL // 2].time < rows[TOTAL // 4].time  # and the study's


@pytest.mark.skipif(bool(missing_postgres()), reason=missing_postgres() or "PostgreSQL is here")
def test_a_store_in_postgresql_takes_records_and_may_go_away(tmp_path: Path) -> None:
    """A whole study with its blobs; after its connections were cut, the next ones; gone, the records wait."""
    with postgres_server() as url, feed_hub(tmp_path, url) as hub:
        outbox = hub.outbox()
        for body, blobs in small_study():
            outbox.add(UID, body, blobs=blobs)
        sender = Sender(outbox.path.parent, hub.file())
        assert sender.attempt() is None
        with hub.store.connect() as connection:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid != pg_backend_pid()"
            )
        outbox.add(UID, *events(10))
        assert sender.attempt() is None
        assert hub.records() == outbox.after(0, 500)
        server = Path(str(sa.make_url(url).query["host"])) / "data" / "postmaster.pid"
        os.kill(int(server.read_text().split()[0]), signal.SIGINT)
        wait_until(lambda: not server.exists(), SECONDS, "the server's end")
        outbox.add(UID, *events(1, first=11))
        failure = sender.attempt()
        assert failure is not None
        assert "the hub cannot keep records now" in failure.sentence
        sender.close()
