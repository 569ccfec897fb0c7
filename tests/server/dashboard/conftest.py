"""A real store and the real application over it, asked as a browser asks."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from server.dashboard import sessions
from server.dashboard.access import cookie_name
from server.dashboard.app import create_app
from server.dashboard.roles import ROLES
from server.dashboard.settings import Settings
from server.store.database import open_store, writing
from server.store.schema import ACCOUNTS
from tests.audit_records import fill, running_study, small_study
from tests.dashboard_site import BROWSER, RUNNING, SMALL, Ask, TestClient


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
