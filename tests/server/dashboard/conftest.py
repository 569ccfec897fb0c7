"""A real store and the real application over it, asked as a browser asks."""

import itertools
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from argon2 import PasswordHasher
from fastapi import FastAPI

from server.dashboard.app import create_app
from server.dashboard.auth import passwords, sessions
from server.dashboard.auth.access import cookie_name
from server.dashboard.auth.roles import ROLES
from server.dashboard.http.settings import Settings
from server.store.database import open_store, writing
from server.store.schema import ACCOUNTS
from tests.audit_records import Entry, fill, running_study, small_study
from tests.dashboard_site import BROWSER, RUNNING, SMALL, Ask, Open, TestClient, reader


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with the same function at less cost: a hundred hashes of 64 MiB would take minutes."""
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with a finished and a running study, and one account of each role without a password."""
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    opened = open_store(path)
    fill(opened, small_study(), SMALL)
    fill(opened, running_study(), RUNNING, source="run:running")
    with writing(opened).begin() as connection:
        for role in ROLES:
            connection.execute(
                sa.insert(ACCOUNTS).values(
                    name=role, role=role, password="", must_change=False, disabled=False,
                    created=datetime.now(UTC),
                )
            )  # fmt: skip
    opened.dispose()  # the last connection writes everything into the one file
    return path


@pytest.fixture
def engine(filled: Path, tmp_path: Path) -> Iterator[sa.Engine]:
    """Return a store of this test's own."""
    opened = open_store(shutil.copyfile(filled, tmp_path / "store.sqlite"))
    yield opened
    opened.dispose()


@pytest.fixture
def app(engine: sa.Engine) -> FastAPI:
    """Return the application with its usual settings."""
    return create_app(engine, Settings())


@pytest.fixture
def ask(app: FastAPI, engine: sa.Engine) -> Iterator[Ask]:
    """Return a way to get a browser; `ask("auditor")` is logged in as one, `ask()` is not."""
    with ExitStack() as opened:

        def browser(role: str = "") -> TestClient:
            client = opened.enter_context(
                TestClient(app, headers=BROWSER, follow_redirects=False, raise_server_exceptions=False)
            )
            if role:
                with writing(engine).begin() as connection:
                    cookie = sessions.begin(connection, role)
                client.cookies.set(cookie_name(app.state.settings), cookie)
            return client

        yield browser


@pytest.fixture
def must_change(engine: sa.Engine) -> None:
    """Let every account have a one-time password."""
    with writing(engine).begin() as connection:
        connection.execute(sa.update(ACCOUNTS).values(must_change=True))


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[Open]:
    """Return a way to get a reader of a dashboard over some entries."""
    with ExitStack() as opened:
        stores = itertools.count()

        def make(entries: list[Entry]) -> TestClient:
            engine = open_store(tmp_path / f"{next(stores)}.sqlite")
            opened.callback(engine.dispose)
            fill(engine, entries)
            return opened.enter_context(reader(engine))

        yield make
