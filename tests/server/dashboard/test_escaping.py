"""Stored text never runs: whatever a site, a study or a person calls itself is shown as text."""

from html.parser import HTMLParser

import pytest
import sqlalchemy as sa

from server.dashboard.auth import accounts as people
from server.dashboard.auth import sessions
from server.dashboard.auth.passwords import hash_password
from server.store.append import append_own
from server.store.database import writing
from server.store.record_kinds import EventBody, IncidentBody
from tests.dashboard_site import RUNNING, SMALL, Ask, token_of

EVIL = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "{{ 7 * 7 }}<b>",
    "</textarea><iframe srcdoc='x'>",
)
PAGES = (
    "/studies", "/events", "/people", "/account", f"/studies/{SMALL}", f"/studies/{SMALL}/events",
    f"/studies/{SMALL}/privacy", f"/studies/{SMALL}/sites", f"/studies/{RUNNING}", "/studies/nothing",
)  # fmt: skip


class Watch(HTMLParser):
    """Collects what could run on a page: scripts without a file, handlers, styles, and elements nobody of us writes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        if tag in {"iframe", "object", "embed", "style", "base"} or (tag == "script" and "src" not in names):
            self.found.append(tag)
        self.found += [name for name in names if name.startswith("on") or name == "style"]
        links = (names.get("href"), names.get("src"), names.get("action"))
        self.found += [str(link) for link in links if link and not link.startswith(("/", "#", "data:image/"))]


def looked_at(page: str) -> list[str]:
    watch = Watch()
    watch.feed(page)
    return watch.found


@pytest.fixture
def poisoned(engine: sa.Engine) -> None:
    """Put text that would run into every place that somebody else writes."""
    with writing(engine).begin() as connection:
        for evil in EVIL:
            append_own(connection, "run:small", SMALL, EventBody(event=evil[:40], what=evil, site=evil[:40]))
            append_own(connection, "run:small", SMALL, IncidentBody(source=evil, what=evil))
            people.add(connection, evil, "viewer", evil, "", hash_password("x"))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("path", PAGES)
def test_no_page_holds_anything_that_could_run(ask: Ask, path: str) -> None:
    """Every page over a poisoned store: no script of its own, no handler, no style, no foreign address."""
    assert looked_at(ask("coordinator").get(path).text) == []


@pytest.mark.usefixtures("poisoned")
def test_what_was_written_is_shown_as_it_was_written(ask: Ask) -> None:
    """The text itself is there, escaped: nothing is silently cut."""
    text = ask("coordinator").get("/events?search=alert").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert (
        "49"
        not in ask("coordinator").get("/events?search=7").text.partition("<table")[2].partition("record")[0]
    )


@pytest.mark.parametrize("evil", EVIL)
def test_what_a_reader_types_is_shown_as_text(ask: Ask, evil: str) -> None:
    """Search fields, the login's name and the way back give typed text back escaped, or not at all."""
    client = ask("coordinator")
    pages = [
        client.get("/studies", params={"search": evil}),
        client.get("/events", params={"search": evil, "kind": evil[:40], "site": evil[:40]}),
        client.post("/people/add", data={"csrf": token_of(client), "name": evil * 20, "role": evil}),
        ask().get("/login", params={"next": evil}),
        ask().post("/login", data={"name": evil, "password": evil, "next": evil}),
        client.get(f"/studies/{evil.replace('/', '')}"),
    ]
    assert [looked_at(one.text) for one in pages] == [[]] * len(pages)


def test_a_name_with_markup_can_log_in_and_stays_text(ask: Ask, engine: sa.Engine) -> None:
    """It stands in the head of every page of that person."""
    with writing(engine).begin() as connection:
        people.add(connection, EVIL[0], "viewer", "", "", hash_password("x"))
        people.set_password(connection, EVIL[0], hash_password("x"), "")
        cookie = sessions.begin(connection, EVIL[0])
    client = ask()
    client.cookies.set("rounds", cookie)
    page = client.get("/account").text
    assert looked_at(page) == []
    assert "&lt;script&gt;" in page


def test_a_search_is_text_and_no_pattern(ask: Ask) -> None:
    """A percent sign finds a percent sign, not everything."""
    assert "No study fits" in ask("viewer").get("/studies?search=%25").text
    assert "No event fits" in ask("viewer").get("/events?search=_____________________").text
