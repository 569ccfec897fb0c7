"""Live pages against real processes: what the stream says, how it resumes, and when it ends."""

import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx2 as httpx
import pytest
import sqlalchemy as sa

from server.dashboard.auth import accounts as people
from server.dashboard.auth import sessions
from server.dashboard.pages.change_stream import version_of
from server.dashboard.rendering.templating import NOBODY, rendered
from server.dashboard.views.head import study_head
from server.store.append import append_own
from server.store.database import open_store, writing
from server.store.record_kinds import EventBody
from tests.dashboard_server import Running, dashboard
from tests.dashboard_site import BROWSER, RUNNING, SMALL, token_in

SECONDS = 30


@dataclass
class Stream:
    """What a browser heard so far; `ended` once the server ended the stream."""

    events: list[tuple[str, str]] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    heard: threading.Condition = field(default_factory=threading.Condition)
    line: socket.socket | None = None

    def wait(self, number: int) -> list[tuple[str, str]]:
        """Wait for a number of events; returns (name, id) of all."""
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.events) >= number, SECONDS), self.events
            return list(self.events)


@pytest.fixture(scope="module")
def store(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of this module's own."""
    return Path(shutil.copyfile(filled, tmp_path_factory.mktemp("live") / "store.sqlite"))


@pytest.fixture
def engine(store: Path) -> Iterator[sa.Engine]:
    """Return the store, as the process that fills it has it open."""
    opened = open_store(store)
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def running(store: Path) -> Iterator[Running]:
    """Return a started dashboard."""
    with dashboard(store) as started:
        yield started


def record(engine: sa.Engine, what: str) -> None:
    """Let something happen in the running study."""
    with writing(engine).begin() as connection:
        append_own(connection, "run:running", RUNNING, EventBody(event="note", what=what))


def version(engine: sa.Engine) -> str:
    with engine.connect() as connection:
        head = study_head(connection, RUNNING)
    assert head is not None
    return version_of(head)


def cookie(engine: sa.Engine, role: str) -> dict[str, str]:
    with writing(engine).begin() as connection:
        return {"rounds": sessions.begin(connection, role)}


@contextmanager
def listening(running: Running, cookies: dict[str, str], **sent: str) -> Iterator[Stream]:
    """Listen to the running study as a browser does."""
    stream = Stream()
    headers = {"last-event-id": sent["last"]} if "last" in sent else {}
    url = f"{running.url}/studies/{RUNNING}/changes?since={sent.get('since', '')}"
    client = httpx.Client(cookies=cookies, timeout=httpx.Timeout(SECONDS))

    def read() -> None:
        name = number = ""
        try:
            with client.stream("GET", url, headers=headers) as answer:
                stream.line = answer.extensions["network_stream"].get_extra_info("socket")
                for line in answer.iter_lines():
                    key, _, value = line.partition(": ")
                    name, number = (value if key == "event" else name), (value if key == "id" else number)
                    if not line and name:
                        with stream.heard:
                            stream.events.append((name, number))
                            stream.heard.notify_all()
                        name = number = ""
        except httpx.HTTPError:
            pass
        stream.ended.set()

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield stream
    finally:
        if stream.line is not None and not stream.ended.is_set():
            stream.line.shutdown(socket.SHUT_RDWR)  # as a browser that goes
        thread.join(SECONDS)
        client.close()


def test_a_record_is_told_as_changed_and_nothing_else(running: Running, engine: sa.Engine) -> None:
    """From the page's version on nothing is said, until a record comes; then one event with the new version."""
    with listening(running, cookie(engine, "viewer"), since=version(engine)) as stream:
        record(engine, "one")
        assert stream.wait(1) == [("changed", version(engine))]


def test_a_decision_of_a_person_is_told_as_well(running: Running, engine: sa.Engine) -> None:
    """Records of other sources about the study count."""
    with listening(running, cookie(engine, "viewer"), since=version(engine)) as stream:
        with writing(engine).begin() as connection:
            append_own(connection, people.SOURCE, RUNNING, EventBody(event="note", what="decided"))
        assert stream.wait(1)[0][0] == "changed"


def test_a_reader_who_was_cut_off_learns_what_he_missed(running: Running, engine: sa.Engine) -> None:
    """Last-Event-ID counts more than the address: what came between is told at once, and only if something came."""
    before = version(engine)
    record(engine, "two")
    with listening(running, cookie(engine, "viewer"), since=version(engine), last=before) as stream:
        assert stream.wait(1) == [("changed", version(engine))]


def test_the_stream_ends_with_the_session(running: Running, engine: sa.Engine) -> None:
    """The button Log out in another tab ends it, with a word that keeps the browser from coming back."""
    cookies = cookie(engine, "viewer")
    with listening(running, cookies, since=version(engine)) as stream:
        record(engine, "three")
        stream.wait(1)
        with httpx.Client(cookies=cookies, base_url=running.url, timeout=SECONDS) as client:
            form = {"csrf": token_in(client.get("/studies").text)}
            assert client.post("/logout", data=form, headers=BROWSER).status_code == 303
        assert stream.ended.wait(SECONDS)
        assert stream.events[-1][0] == "ended"


def test_the_stream_ends_with_the_role(running: Running, engine: sa.Engine) -> None:
    """Whoever is given another role listens no more in the old one."""
    with listening(running, cookie(engine, "auditor"), since=version(engine)) as stream:
        record(engine, "four")
        stream.wait(1)
        with writing(engine).begin() as connection:
            people.change_role(connection, "auditor", "viewer", "coordinator")
        assert stream.ended.wait(SECONDS)
        assert stream.events[-1][0] == "ended"


def test_stopping_the_server_ends_streams_at_once(store: Path, engine: sa.Engine) -> None:
    """SIGTERM does not wait for readers; they are not told that their session ended, so they come back."""
    with (
        dashboard(store) as other,
        listening(other, cookie(engine, "viewer"), since=version(engine)) as stream,
    ):
        record(engine, "five")
        stream.wait(1)
        began = time.monotonic()
        assert other.stop() == 0
        assert time.monotonic() - began < 5
        assert stream.ended.wait(SECONDS)
        assert [name for name, _ in stream.events] == ["changed"]


def keep_listening(url: str, cookies: dict[str, str], heard: list[str], stop: threading.Event) -> None:
    """Listen as a browser's EventSource does: cut off, it comes back with the last id, after the time it was told."""
    last, wait = heard[0], 60.0  # the stream says how long; else this test fails
    while not stop.is_set():
        try:
            with (
                httpx.Client(cookies=cookies, timeout=SECONDS) as client,
                client.stream("GET", url, headers={"last-event-id": last}) as answer,
            ):
                for line in answer.iter_lines():
                    key, _, value = line.partition(": ")
                    if key == "retry":
                        wait = int(value) / 1000
                    elif key == "id":
                        last = value
                        heard.append(value)
        except httpx.HTTPError:
            pass
        stop.wait(wait)


def test_twenty_readers_of_a_killed_server_are_soon_told_again(store: Path, engine: sa.Engine) -> None:
    """Killed with -9 and started again: within 5 s all of them know of the record that came meanwhile."""
    heard, stop = [[version(engine)] for _ in range(20)], threading.Event()

    def wait_until_all_heard(what: str) -> None:
        deadline = time.monotonic() + SECONDS
        while not all(one[-1] == what for one in heard):
            assert time.monotonic() < deadline, f"{sum(one[-1] == what for one in heard)} of 20 heard it"
            time.sleep(0.02)

    readers: list[threading.Thread] = []
    try:
        with dashboard(store) as first:
            at = first.url.removeprefix("http://")
            url = f"{first.url}/studies/{RUNNING}/changes"
            readers += [
                threading.Thread(target=keep_listening, args=(url, cookie(engine, "viewer"), one, stop))
                for one in heard
            ]
            for reader in readers:
                reader.start()
            record(engine, "before")
            wait_until_all_heard(version(engine))
            killed = time.monotonic()
            first.stop(signal.SIGKILL)
        record(engine, "meanwhile")
        with dashboard(store, listen=at):
            back = time.monotonic()
            wait_until_all_heard(version(engine))
            seconds = time.monotonic() - back
            stop.set()
    finally:
        stop.set()
        for reader in readers:
            reader.join(SECONDS)
    print(
        f"all 20 heard it {seconds:.1f} s after the server was back, {back - killed + seconds:.1f} s after the kill"
    )
    assert seconds < 5


def test_only_a_running_study_is_listened_to(running: Running, engine: sa.Engine) -> None:
    """Its pages carry the stream's address and how old the last record is; those of a finished one do not."""
    cookies = cookie(engine, "coordinator")
    with httpx.Client(cookies=cookies, base_url=running.url, timeout=SECONDS) as client:
        live, done = (client.get(f"/studies/{uid}/events").text for uid in (RUNNING, SMALL))
    assert f'sse-connect="/studies/{RUNNING}/changes?since={version(engine)}"' in live
    assert "last record" in live
    assert "sse-connect" not in done
    assert "last record" not in done


@pytest.mark.parametrize(("seconds", "word"), [(29, "live"), (31, "stale")])
def test_a_silent_study_is_stale_after_thirty_seconds(engine: sa.Engine, seconds: int, word: str) -> None:
    """The word beside the age of the last record changes with it, by this machine's clock."""
    with engine.connect() as connection:
        head = study_head(connection, RUNNING)
    assert head is not None
    values = NOBODY | {"study": head, "now": head.received + timedelta(seconds=seconds)}
    line = rendered("base.html", values, "badges").partition("freshness")[2]
    assert f"last record {seconds} s ago" in line
    assert word in line
