"""Sending beside a study: a hub that is away never stops or slows it, and what it missed is sent later."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from server.feed import sender as sending
from server.feed.credential import FOLDER_VARIABLE
from server.feed.sender import Sender, credential_file, feeding, send_rest
from server.store.intake.outbox import Outbox
from shared.errors import ServiceError
from tests.feed_hub import RUN, UID, FeedHub, events

SECONDS = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the thread look and try again at once, so that no test waits for it."""
    monkeypatch.setattr(sending, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(sending, "_MAX_PAUSE_SECONDS", 0.05)


@pytest.fixture
def run(hub: FeedHub, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run whose file lies where `rounds-hub serve` says."""
    monkeypatch.setenv(FOLDER_VARIABLE, str(hub.file().parent))
    return hub.outbox().path.parent


def until(true: Callable[[], bool], seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_records_arrive_while_the_study_runs(hub: FeedHub, run: Path) -> None:
    """Those written before the block, in it and at its very end."""
    outbox = Outbox(run)
    outbox.add(UID, *events(3))
    with feeding(run):
        outbox.add(UID, *events(2, first=4))
        until(lambda: len(hub.records()) == 5)
        outbox.add(UID, *events(1, first=6))
    assert hub.records() == outbox.after(0, 10)


def test_a_study_without_an_outbox_leaves_none(run: Path) -> None:
    """Nothing is written by who only sends."""
    with feeding(run):
        pass
    assert list(run.iterdir()) == []


def test_a_simulation_has_no_feed(tmp_path: Path) -> None:
    """Where no hub has made a file for the run, no thread begins."""
    before = threading.active_count()
    with feeding(tmp_path):
        assert threading.active_count() == before


def test_a_hub_that_is_away_costs_a_bounded_time_at_the_end(
    hub: FeedHub, run: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The block itself is not held up, its end waits no longer than it says, and one line tells of it."""
    monkeypatch.setattr(sending, "LAST_SECONDS", 0.5)
    hub.stop()
    outbox = Outbox(run)
    with caplog.at_level(logging.WARNING, "rounds.feed"):
        begin = time.monotonic()
        with feeding(run):
            outbox.add(UID, *events(100))
            inside = time.monotonic() - begin
        whole = time.monotonic() - begin
    assert inside < 5
    assert whole < inside + 5
    assert len(outbox.after(0, 200)) == 100
    assert [line.getMessage().split("(")[0] for line in caplog.records] == [
        "feed: the hub does not answer, or does not let this certificate in "
    ]
    hub.start_again()
    assert send_rest(run, hub.file(), SECONDS) == outbox.head()
    assert hub.records() == outbox.after(0, 200)


def test_a_hub_that_comes_back_gets_what_it_missed(
    hub: FeedHub, run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within the study, over the same sender, in order."""
    monkeypatch.setattr("server.feed.connection.CALL_SECONDS", 0.5)
    outbox = Outbox(run)
    with caplog.at_level(logging.WARNING, "rounds.feed"), feeding(run):
        outbox.add(UID, *events(5))
        until(lambda: len(hub.records()) == 5)
        hub.stop()
        outbox.add(UID, *events(5, first=6))
        until(lambda: caplog.records != [])
        hub.start_again()
        until(lambda: len(hub.records()) == 10)
    assert hub.records() == outbox.after(0, 20)
    assert caplog.records[-1].getMessage() == "feed: the hub has every record again"


def test_a_renewed_file_is_used_without_a_restart(hub: FeedHub, run: Path) -> None:
    """A certificate that was removed and made anew lets the same sender in again."""
    outbox = Outbox(run)
    outbox.add(UID, *events(1))
    sender = Sender(run, hub.file())
    assert sender.attempt() is None
    hub.senders.remove(RUN)
    outbox.add(UID, *events(1, first=2))
    failure = sender.attempt()
    assert failure is not None
    assert failure.lasting
    hub.file()
    assert sender.attempt() is None
    sender.close()
    assert len(hub.records()) == 2


def test_what_is_left_is_counted(hub: FeedHub, run: Path) -> None:
    """The command that sends the rest says how many records wait, and why."""
    Outbox(run).add(UID, *events(7))
    file = hub.file()
    hub.stop()
    with pytest.raises(ServiceError, match=f"{RUN}: 7 records wait in its folder; the hub does not answer"):
        send_rest(run, file, 0.3)


def test_a_damaged_file_is_one_sentence(hub: FeedHub, run: Path) -> None:
    """Whoever sends is told what to do."""
    Outbox(run).add(UID, *events(1))
    file = hub.file()
    file.write_text("{}")
    with pytest.raises(ServiceError, match="make it by `rounds-hub feed certificate RUN` at the hub"):
        send_rest(run, file, 5)


def test_a_file_is_found_where_the_run_lies_in_the_hub(hub: FeedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that `rounds-hub report` needs no word of where."""
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    file = hub.file()
    assert credential_file(hub.hub.path / "studies" / RUN) == file
    assert credential_file(hub.runs / RUN) is None


def test_two_senders_of_one_run_do_no_harm(hub: FeedHub, run: Path) -> None:
    """A study's process and the hub's own may send the same at once."""
    outbox = Outbox(run)
    outbox.add(UID, *events(2000))
    senders = [Sender(run, hub.file()) for _ in range(3)]
    failures: list[object] = []
    threads = [threading.Thread(target=lambda one=one: failures.append(one.attempt())) for one in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in senders:
        one.close()
    assert failures == [None] * 3
    assert hub.records() == outbox.after(0, 3000)
