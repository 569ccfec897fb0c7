from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from server.dashboard.auth import sessions
from server.dashboard.http.settings import Settings
from server.store.database import writing
from server.store.schema import ACCOUNTS, SESSIONS
from tests.dashboard_site import Ask, chained, token_of


def age(engine: sa.Engine, **columns: timedelta) -> None:
    """Move times of all sessions back."""
    now = datetime.now(UTC)
    with writing(engine).begin() as connection:
        connection.execute(sa.update(SESSIONS).values({name: now - by for name, by in columns.items()}))


@pytest.mark.parametrize(
    ("column", "lives", "ends"),
    [
        ("seen", timedelta(minutes=29), timedelta(minutes=31)),
        ("began", timedelta(hours=11, minutes=59), timedelta(hours=12, minutes=1)),
    ],
)
def test_a_session_ends_when_nobody_is_there_and_at_the_latest_after_its_time(
    ask: Ask, engine: sa.Engine, column: str, lives: timedelta, ends: timedelta
) -> None:
    """Thirty minutes without a request, or twelve hours after the login."""
    client = ask("viewer")
    age(engine, **{column: lives})
    assert client.get("/studies").status_code == 200
    age(engine, **{column: ends})
    assert client.get("/studies").status_code == 303


def test_a_request_keeps_the_session_alive(ask: Ask, engine: sa.Engine) -> None:
    """Each request begins the idle time anew."""
    client = ask("viewer")
    age(engine, seen=timedelta(minutes=20))
    client.get("/studies")
    with engine.connect() as connection:
        seen = connection.execute(sa.select(SESSIONS.c.seen)).scalar_one()
    assert datetime.now(UTC) - seen < timedelta(minutes=1)


def test_reading_seldom_writes(ask: Ask, engine: sa.Engine) -> None:
    """Within a minute the store is not written: twenty readers do not wait for each other."""
    client = ask("viewer")
    with engine.connect() as connection:
        before = connection.execute(sa.select(SESSIONS.c.seen)).scalar_one()
        client.get("/studies")
        assert connection.execute(sa.select(SESSIONS.c.seen)).scalar_one() == before


def test_logging_out_ends_the_session_in_the_store(ask: Ask, engine: sa.Engine) -> None:
    """The cookie is worthless afterwards, also to whoever kept a copy, and the logout is chained."""
    client = ask("viewer")
    cookie = client.cookies["rounds"]
    assert client.post("/logout", data={"csrf": token_of(client)}).headers["location"] == "/login"
    client.cookies.set("rounds", cookie)
    assert client.get("/studies").status_code == 303
    assert [(one.person, one.what) for one in chained(engine)] == [("viewer", "logged out")]


def test_a_person_can_end_all_other_sessions(ask: Ask) -> None:
    """What was left open elsewhere is closed; this session goes on."""
    here, elsewhere = ask("viewer"), ask("viewer")
    assert "another" in here.get("/account").text
    here.post("/account/sessions", data={"csrf": token_of(here)})
    assert here.get("/studies").status_code == 200
    assert elsewhere.get("/studies").status_code == 303


def test_a_disabled_account_has_no_live_session(ask: Ask, engine: sa.Engine) -> None:
    """Even a session that is still in the table opens nothing."""
    client = ask("viewer")
    with writing(engine).begin() as connection:
        connection.execute(sa.update(ACCOUNTS).values(disabled=True))
    assert client.get("/studies").status_code == 303


def test_ended_sessions_are_swept(ask: Ask, engine: sa.Engine) -> None:
    """The table holds live sessions only, after the next login at the latest."""
    ask("viewer")
    age(engine, seen=timedelta(hours=1))
    ask("auditor")
    with writing(engine).begin() as connection:
        sessions.sweep(connection, Settings())
        assert connection.execute(sa.select(SESSIONS.c.person)).scalars().all() == ["auditor"]
