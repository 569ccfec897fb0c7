"""Studies and Events: searched, filtered and cut by the server."""

import re

import pytest
import sqlalchemy as sa

from server.dashboard.auth.sessions import Visit, look_up
from server.dashboard.decisions import evidence_of, state_view
from server.dashboard.http.settings import Settings
from server.dashboard.views.events import Asked, events_view
from server.store.append import append_own
from server.store.database import writing
from server.store.record_kinds import EventBody
from server.store.schema import EVENTS, SESSIONS
from tests.dashboard_site import RUNNING, SMALL, Ask

SIZE = 50

HTMX = {"hx-request": "true", "hx-target": "results"}


def visit_of(engine: sa.Engine) -> Visit:
    with engine.connect() as connection:
        token = connection.execute(sa.select(SESSIONS.c.token)).scalar_one()
        found = look_up(connection, token, Settings())
    assert found is not None
    return found


def test_studies_show_state_progress_verdict_and_decision(ask: Ask) -> None:
    """One line a study, by word: what it is, how far it is, what the gate and a person said."""
    page = ask("viewer").get("/studies").text
    lines = {uid: re.sub(r"<[^>]+>|\s+", " ", page.partition(f"/studies/{uid}")[2].partition("</tr>")[0]) for uid in
             (SMALL, RUNNING)}  # fmt: skip
    assert "completed" in lines[SMALL]
    assert "accepted" in lines[SMALL]
    assert "8 of 8" in lines[SMALL]
    assert "running" in lines[RUNNING]
    assert "5 of 8" in lines[RUNNING]
    assert lines[RUNNING].count("none yet") == 2


def test_the_verdict_waits_for_the_view_of_who_decides(ask: Ask, engine: sa.Engine) -> None:
    """Neither list shows an auditor the gate's word before they gave their own; afterwards both do."""
    client = ask("auditor")
    paths = ("/studies", "/events?kind=gate", f"/studies/{SMALL}/events?kind=gate")
    assert all("hidden until" in client.get(path).text for path in paths)
    assert all("ccepted" not in client.get(path).text for path in paths)
    with engine.connect() as connection:
        evidence = evidence_of(connection, SMALL)
    state_view(engine, SMALL, visit_of(engine), "accept", evidence)
    assert all("hidden until" not in client.get(path).text for path in paths)
    assert all("ccepted" in client.get(path).text for path in paths)


def test_htmx_gets_the_list_alone(ask: Ask) -> None:
    """A search puts the list in place, not a page within the page; without htmx the same address is a whole page."""
    client = ask("viewer")
    for path in ("/studies", "/events"):
        part = client.get(path, headers=HTMX).text
        assert "<table" in part
        assert "<html" not in part
        assert part.strip() in client.get(path).text


def test_an_unknown_block_is_the_whole_page(ask: Ask) -> None:
    """What a browser's extension or a wrong target asks for is no failure."""
    answer = ask("viewer").get("/studies", headers=HTMX | {"hx-target": "nothing-of-ours"})
    assert answer.status_code == 200
    assert "<html" in answer.text


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        (Asked(kind="missing"), lambda row: row.kind == "missing"),
        (Asked(site="film"), lambda row: row.site == "film"),
        (Asked(search="BUDGET"), lambda row: "budget" in row.what),
        (Asked(search="film", kind="missing"), lambda row: row.kind == "missing" and row.site == "film"),
    ],
)
def test_events_are_those_that_fit_all_of_them(engine: sa.Engine, asked: Asked, fits: object) -> None:
    """Kind, site and words, together; as many as there are."""
    assert callable(fits)
    with engine.connect() as connection:
        found = events_view(connection, asked, study_uid=SMALL).events
        everything = connection.execute(sa.select(EVENTS).where(EVENTS.c.study_uid == SMALL)).all()
    assert found.total == sum(bool(fits(row)) for row in everything) > 0
    assert all(fits(row) for row in found.rows)


def test_pages_of_events_follow_each_other(ask: Ask, engine: sa.Engine) -> None:
    """The newest first, each event once, with the filter kept in the links to other pages."""
    with writing(engine).begin() as connection:
        for number in range(2 * SIZE + 3):
            append_own(connection, "run:small", SMALL, EventBody(event="note", what=f"note {number:03d}"))
    client, url, seen = ask("viewer"), f"/studies/{SMALL}/events?search=note&kind=note", []
    for page in ("", "&page=2", "&page=3"):
        text = client.get(url + page).text
        seen += re.findall(r"note (\d{3})", text.partition("<tbody")[2])
    assert seen == [f"{number:03d}" for number in reversed(range(2 * SIZE + 3))]
    assert "search=note&amp;kind=note&amp;page=2" in client.get(url).text


def test_empty_lists_say_what_to_do(ask: Ask) -> None:
    """Nothing found is a sentence, not an empty table."""
    client = ask("viewer")
    assert "Clear the search field" in client.get("/studies?search=nothing").text
    assert "Clear the search" in client.get("/events?search=nothing-at-all").text
    assert client.get("/studies?page=900").status_code == 200


def test_times_carry_their_zone(ask: Ask) -> None:
    """Each time is one that a machine can read as well, and says UTC."""
    page = ask("viewer").get("/events").text
    times = re.findall(r'<time datetime="([^"]+)">([^<]+)</time>', page)
    assert times
    assert all(machine.endswith("+00:00") and words.endswith(" UTC") for machine, words in times)
