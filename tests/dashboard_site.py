"""The dashboard as tests reach it: the real application, asked as a browser asks."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from httpx2 import Response

from server.dashboard.app import create_app
from server.dashboard.auth import passwords, sessions
from server.dashboard.auth.access import cookie_name
from server.dashboard.http.settings import Settings
from server.store.database import writing
from server.store.record_kinds import PersonBody
from server.store.schema import ACCOUNTS, RECORDS

with warnings.catch_warnings():  # starlette's client uses an old name of anyio
    warnings.simplefilter("ignore", DeprecationWarning)
    from fastapi.testclient import TestClient

SMALL, RUNNING = "5" * 32, "d" * 32
BROWSER = {"sec-fetch-site": "same-origin", "origin": "null"}  # what Chromium sends under our referrer policy
Ask = Callable[..., TestClient]
Open = Callable[..., TestClient]  # a reader of a dashboard over some entries


@contextmanager
def reader(engine: sa.Engine, role: str = "viewer") -> Iterator[TestClient]:
    """Make an account in a store and ask its dashboard as that person, who is logged in."""
    app = create_app(engine, Settings())
    with writing(engine).begin() as connection:
        values = {"name": "reader", "role": role, "password": "", "must_change": False, "disabled": False}
        connection.execute(sa.insert(ACCOUNTS).values(values | {"created": sa.func.now()}))
        cookie = sessions.begin(connection, "reader")
    with TestClient(app, headers=BROWSER, follow_redirects=False) as client:
        client.cookies.set(cookie_name(app.state.settings), cookie)
        yield client


def token_of(client: TestClient, path: str = "/studies") -> str:
    """Return the session's token as a page's forms carry it."""
    return token_in(client.get(path).text)


def token_in(page: str) -> str:
    """Return the token of a page's forms."""
    return page.partition('name="csrf" value="')[2].partition('"')[0]


PASSWORD = "seven otters cross the bridge"  # noqa: S105 - of made accounts in stores of tests


def give_password(engine: sa.Engine, name: str, password: str = PASSWORD) -> None:
    """Give an account of the store a password that its person chose."""
    hashed = passwords.hash_password(password)
    with writing(engine).begin() as connection:
        connection.execute(sa.update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(password=hashed))


def chained(engine: sa.Engine) -> list[PersonBody]:
    """Return what the source `people` has on record, in order."""
    with engine.connect() as connection:
        bodies = connection.execute(
            sa.select(RECORDS.c.body).where(RECORDS.c.source == "people").order_by(RECORDS.c.seq)
        ).scalars()
        return [PersonBody.model_validate_json(body) for body in bodies]


def log_in(client: TestClient, name: str, password: str = PASSWORD, back: str = "/") -> Response:
    """Send the login form."""
    return client.post("/login", data={"name": name, "password": password, "next": back})
