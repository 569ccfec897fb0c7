"""The page of connections: what a hub's folder says, to the coordinator alone, and never an error for want of a hub."""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import httpx2 as httpx
import pytest
import sqlalchemy as sa

from server.connections.connections import gather
from server.dashboard.app import create_app
from server.dashboard.auth import sessions
from server.dashboard.auth.access import cookie_name
from server.dashboard.http.settings import Settings
from server.dashboard.views.connections import ConnectionsCache, connections_view
from server.store.database import open_store, writing
from tests.connected_hub import NODES_NOW, ConnectedHub, new_hub, whole_hub
from tests.dashboard_server import dashboard
from tests.dashboard_site import BROWSER, TestClient


@pytest.fixture
def whole(tmp_path: Path) -> ConnectedHub:
    return whole_hub(tmp_path)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def browser(opened: ExitStack, engine: sa.Engine, hub: Path | None, role: str = "coordinator") -> TestClient:
    """Log in at a dashboard of this hub that remembers nothing."""
    app = create_app(engine, Settings(hub=hub, hub_seconds=0.0))
    client = opened.enter_context(TestClient(app, headers=BROWSER, follow_redirects=False))
    with writing(engine).begin() as connection:
        client.cookies.set(cookie_name(app.state.settings), sessions.begin(connection, role))
    return client


def text(page: str) -> str:
    """Return what a reader reads."""
    return " ".join(re.sub(r"<[^>]*>", " ", page).split()).replace("&#39;", "'")


def test_the_page_shows_what_was_gathered(opened: ExitStack, engine: sa.Engine, whole: ConnectedHub) -> None:
    """Every site's next step, standing and the hub's own state stand there in the words of the command line."""
    answer = browser(opened, engine, whole.hub.path).get("/connections")
    shown, found = text(answer.text), gather(whole.hub)
    assert answer.status_code == 200
    assert found.finding in shown
    for one in found.sites:
        said = [text(part) for part in one.next_step.split("`")]
        assert all(part in shown for part in said), said
        assert f"{one.facts.site} {one.facts.standing}" in shown
    assert "last seen 20 Nov 2026, 18:30 UTC" in shown
    assert "certificate of the hub holds until" in shown


@pytest.mark.parametrize("role", ["viewer", "auditor"])
def test_other_roles_see_nothing_of_it(
    opened: ExitStack, engine: sa.Engine, whole: ConnectedHub, role: str
) -> None:
    """Neither the page nor its stream, nor a link to it."""
    client = browser(opened, engine, whole.hub.path, role)
    for path in ("/connections", "/connections/changes"):
        answer = client.get(path)
        assert (answer.status_code, "island" in answer.text) == (403, False)
    assert "/connections" not in client.get("/studies").text


def test_nothing_there_is_a_sentence(opened: ExitStack, engine: sa.Engine, tmp_path: Path) -> None:
    """No hub at all, a folder without one, a hub without sites, one that cannot be read: each says what to do."""

    def page(hub: Path | None) -> str:
        answer = browser(opened, engine, hub).get("/connections")
        assert answer.status_code == 200
        return text(answer.text)

    assert "no federation belongs to it" in page(None)
    assert "No federation was made here yet. rounds-hub init makes one." in page(tmp_path / "none")
    empty = new_hub(tmp_path)
    assert "No site is admitted or invited yet." in page(empty.hub.path)
    assert "rounds-hub invite --site NAME" in page(empty.hub.path)
    assert "The hub is not serving, so no site can connect" in page(empty.hub.path)
    empty.hub.sites_file.write_text("no database")
    assert "The hub's folder cannot be read. sites.sqlite: cannot be read" in page(empty.hub.path)


def test_only_the_part_that_changed_is_sent(
    opened: ExitStack, engine: sa.Engine, whole: ConnectedHub
) -> None:
    """Asked by htmx for its block, the page leaves the frame out."""
    client = browser(opened, engine, whole.hub.path)
    part = client.get("/connections", headers={"hx-request": "true", "hx-target": "connections"}).text
    assert "<html" not in part
    assert "<table" in part


def test_names_are_escaped_wherever_they_come_from(
    opened: ExitStack, engine: sa.Engine, whole: ConnectedHub
) -> None:
    """What a study's records hold of a site is text, also between backticks."""
    study = whole.submit("lungs-20261125-080000")
    study.folder.record_event("not_enrolled", site="north", why="`<b>` <script>alert(1)</script>")
    page = browser(opened, engine, whole.hub.path).get("/connections").text
    assert "<script>alert" not in page
    assert "<code>&lt;b&gt;</code> &lt;script&gt;" in page


def test_the_version_changes_with_what_is_shown_alone(whole: ConnectedHub) -> None:
    """The passing of time is no change for a reader; a site that goes, a study's answer and a dead SuperLink are."""

    def version() -> str:
        return connections_view(whole.hub.path).version

    first = version()
    whole.serving(NODES_NOW)
    assert version() == first
    seen = [first]
    for change in (
        lambda: whole.serving(None),
        lambda: whole.submit("lungs-20261126-080000"),
        lambda: whole.remove("hill"),
        lambda: whole.invite("lake"),
    ):
        change()
        seen.append(version())
    assert len(set(seen)) == 5


def test_readers_share_one_reading(whole: ConnectedHub) -> None:
    """Within some seconds nothing is read again; afterwards it is."""
    cache = ConnectionsCache(whole.hub.path, seconds=60.0)
    first = cache.get()
    whole.remove("hill")
    assert cache.get() is first
    fresh = ConnectionsCache(whole.hub.path, seconds=0.0)
    assert fresh.get().version != first.version
    assert fresh.get() is not fresh.get()


def test_a_hub_that_dies_is_told_to_an_open_page(filled: Path, tmp_path: Path, whole: ConnectedHub) -> None:
    """In a process of its own the stream says `changed` when the SuperLink is gone; the page answers at once."""
    store = tmp_path / "live.sqlite"
    store.write_bytes(filled.read_bytes())
    engine = open_store(store)
    with writing(engine).begin() as connection:
        cookies = {"rounds": sessions.begin(connection, "coordinator")}
    engine.dispose()
    with (
        dashboard(store, "--hub", str(whole.hub.path)) as running,
        httpx.Client(base_url=running.url, cookies=cookies, timeout=60) as client,
    ):
        page = client.get("/connections").text
        stream = page.partition('sse-connect="')[2].partition('"')[0]
        with client.stream("GET", stream) as heard:
            lines = heard.iter_lines()
            assert next(lines) == ": watching"
            whole.serving(None)
            assert next(line for line in lines if line.startswith("event:")) == "event: changed"
        began = time.monotonic()
        assert "The hub's SuperLink does not answer" in text(client.get("/connections").text)
        assert time.monotonic() - began < 5, f"at {datetime.now(UTC)}"
