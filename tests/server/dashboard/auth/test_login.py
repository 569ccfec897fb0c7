import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from server.dashboard.app import create_app
from server.dashboard.auth import passwords, throttle
from server.dashboard.http.settings import Settings
from server.store.database import writing
from server.store.schema import ACCOUNTS, ATTEMPTS, SESSIONS
from tests.dashboard_site import BROWSER, PASSWORD, Ask, TestClient, chained, give_password, log_in


@pytest.fixture(autouse=True)
def auditor(engine: sa.Engine) -> None:
    """Give the account `auditor` a password."""
    give_password(engine, "auditor")


def browser(engine: sa.Engine) -> TestClient:
    return TestClient(create_app(engine, Settings()), headers=BROWSER, follow_redirects=False)


def test_the_right_password_opens_and_leads_back(ask: Ask, engine: sa.Engine) -> None:
    """After logging in the reader is where he wanted to go, and the login is chained with its address."""
    client = ask()
    assert client.get("/events?kind=gate").headers["location"] == "/login?next=/events%3Fkind%3Dgate"
    answer = log_in(client, "auditor", back="/events?kind=gate")
    assert (answer.status_code, answer.headers["location"]) == (303, "/events?kind=gate")
    assert client.get("/events").status_code == 200
    assert [(one.person, one.what, one.address) for one in chained(engine)] == [
        ("auditor", "logged in", "testclient")
    ]


@pytest.mark.parametrize("elsewhere", ["//evil.example/", "https://evil.example", "/\\evil.example", "evil"])
def test_logging_in_never_leads_to_another_site(ask: Ask, elsewhere: str) -> None:
    """An address of another site in the link is not followed."""
    assert log_in(ask(), "auditor", back=elsewhere).headers["location"] == "/"


@pytest.mark.parametrize("name", ["auditor", "nobody"])
def test_a_wrong_login_does_not_tell_whether_the_account_exists(ask: Ask, name: str) -> None:
    """The same words and status for a wrong password and for a name that nobody has."""
    answer = log_in(ask(), name, "wrong" * 4)
    assert answer.status_code == 401
    assert "This name and password do not fit" in answer.text


def test_a_name_that_nobody_has_is_not_kept(ask: Ask, engine: sa.Engine) -> None:
    """Somebody may have typed the password into the field of the name: neither chain nor counter holds it."""
    log_in(ask(), PASSWORD, "auditor")
    assert [(one.person, one.what) for one in chained(engine)] == [("somebody", "login refused")]
    with engine.connect() as connection:
        assert PASSWORD not in repr(connection.execute(sa.select(ATTEMPTS)).all())


def test_a_disabled_account_is_as_one_that_does_not_exist(ask: Ask, engine: sa.Engine) -> None:
    """The right password of a disabled account opens nothing."""
    with writing(engine).begin() as connection:
        connection.execute(sa.update(ACCOUNTS).values(disabled=True))
    assert log_in(ask(), "auditor").status_code == 401


def test_the_sixth_wrong_login_in_a_minute_is_refused_unheard(ask: Ask, engine: sa.Engine) -> None:
    """Five wrong tries are heard; then even the right password is not, and the page says for how long."""
    client = ask()
    assert [log_in(client, "auditor", "wrong" * 4).status_code for _ in range(5)] == [401] * 5
    answer = log_in(client, "auditor")
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "wait" in answer.text
    assert [one.what for one in chained(engine)].count("not heard for a minute: five wrong logins") == 1


def test_a_refused_try_is_not_hashed(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the throttle refuses, no hash is computed."""
    client = ask()
    for _ in range(5):
        log_in(client, "auditor", "wrong" * 4)
    monkeypatch.setattr(passwords, "fits", lambda *_: pytest.fail("hashed"))
    assert log_in(client, "auditor").status_code == 429


def test_names_are_counted_together_by_their_address(ask: Ask) -> None:
    """Six wrong tries from one address are refused, whatever names they give."""
    client = ask()
    codes = [log_in(client, f"nobody-{number}", "wrong" * 4).status_code for number in range(6)]
    assert codes == [401] * 5 + [429]


def test_a_minute_later_the_account_is_heard_again(ask: Ask, engine: sa.Engine) -> None:
    """Tries of more than a minute ago do not count."""
    client = ask()
    for _ in range(5):
        log_in(client, "auditor", "wrong" * 4)
    with writing(engine).begin() as connection:
        connection.execute(sa.update(ATTEMPTS).values(time=datetime.now(UTC) - timedelta(seconds=61)))
    assert log_in(client, "auditor").status_code == 303


def test_right_logins_are_not_counted(ask: Ask) -> None:
    """A morning on which everybody logs in from one address locks nobody out."""
    assert {log_in(ask(), "auditor").status_code for _ in range(8)} == {303}


@pytest.mark.parametrize(
    ("host", "counted"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_an_ipv6_customer_is_counted_as_one(host: str, counted: str) -> None:
    """Whoever has a whole network does not get five tries for each of its addresses."""
    assert throttle.counted_address(host) == counted


def test_more_than_four_hashes_never_run_at_once(engine: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty logins at once: four hashes run, the others wait, and all are answered."""
    running, most, lock, gate = 0, 0, threading.Lock(), threading.Barrier(4)
    real = passwords.fits

    def watched(stored: str, password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        gate.wait(timeout=60)  # passes only where four do run at once
        try:
            return real(stored, password)
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(passwords, "fits", watched)
    with browser(engine) as client, ThreadPoolExecutor(20) as threads:
        codes = list(threads.map(lambda _: log_in(client, "auditor").status_code, range(20)))
    assert codes == [303] * 20
    assert most == 4


def test_tries_at_once_do_not_get_around_the_throttle(engine: sa.Engine) -> None:
    """Of twelve wrong tries sent at once, five are heard."""
    with browser(engine) as client, ThreadPoolExecutor(12) as threads:
        codes = list(threads.map(lambda _: log_in(client, "auditor", "wrong" * 4).status_code, range(12)))
    assert sorted(codes) == [401] * 5 + [429] * 7


def test_the_cookie_is_for_this_host_alone_and_for_no_script(ask: Ask) -> None:
    """Without TLS the cookie is HttpOnly and SameSite=Strict."""
    said = log_in(ask(), "auditor").headers["set-cookie"]
    assert said.startswith("rounds=")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in said.split(";")}


def test_behind_tls_the_cookie_has_the_host_prefix_and_is_secure(engine: sa.Engine) -> None:
    """With TLS its name has the prefix that browsers bind to one host, and it is Secure."""
    with TestClient(
        create_app(engine, Settings(secure=True)), base_url="https://testserver",
        headers=BROWSER, follow_redirects=False,
    ) as client:  # fmt: skip
        answer = log_in(client, "auditor")
        assert answer.headers["set-cookie"].startswith("__Host-rounds=")
        assert {"Secure", "HttpOnly", "SameSite=strict"} <= {
            part.strip() for part in answer.headers["set-cookie"].split(";")
        }
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        assert client.get("/studies").status_code == 200


def test_the_store_does_not_hold_what_opens_a_session(ask: Ask, engine: sa.Engine) -> None:
    """A copy of the store logs nobody in: it holds hashes of passwords and cookies."""
    client = ask()
    log_in(client, "auditor")
    cookie = client.cookies["rounds"]
    with engine.connect() as connection:
        held: list[Any] = [*connection.execute(sa.select(SESSIONS)), *connection.execute(sa.select(ACCOUNTS))]
    assert cookie not in repr(held)
    assert PASSWORD not in repr(held)
    assert "$argon2id$" in repr(held)


def test_a_login_ends_the_session_that_the_browser_had(ask: Ask) -> None:
    """A cookie that somebody else put into the browser is worth nothing after the login."""
    client = ask("viewer")
    old = client.cookies["rounds"]
    log_in(client, "auditor")
    stranger = ask()
    stranger.cookies.set("rounds", old)
    assert stranger.get("/studies").status_code == 303
