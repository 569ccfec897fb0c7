"""A real browser before the real dashboard of `rounds-hub dashboard serve`, with a finished and a running study."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, BrowserContext

from server.dashboard.auth.passwords import hash_password
from server.store.database import open_store, writing
from server.store.intake.ingest import find_outboxes, ingest
from server.store.schema import ACCOUNTS, STUDIES
from tests.audit_records import fill, running_study, small_study
from tests.chromium import CHROMIUM, NO_CHROMIUM, PASSWORD, Reader, chromium
from tests.connected_hub import ConnectedHub, whole_hub
from tests.dashboard_site import RUNNING, SMALL

ROLES = ("viewer", "auditor", "coordinator")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say why, where there is no browser."""
    if CHROMIUM is None:
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=NO_CHROMIUM))


@dataclass(frozen=True)
class Site:
    """A dashboard that is served: its address, its store, and the studies in it."""

    address: str
    store: Path
    finished: str = SMALL
    running: str = RUNNING
    hub: ConnectedHub | None = None


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Serve a finished and a running study; `ROUNDS_RUN` names the folder of a real run to be walked in their place."""
    store = tmp_path_factory.mktemp("browser") / "store.sqlite"
    engine = open_store(store)
    finished = _real(engine, os.environ.get("ROUNDS_RUN", "")) or SMALL
    if finished == SMALL:
        fill(engine, small_study(), SMALL)
    fill(engine, running_study(), RUNNING, source="run:running")
    with writing(engine).begin() as connection:
        for role in ROLES:
            values = {"name": role, "role": role, "password": hash_password(PASSWORD), "must_change": False}
            connection.execute(
                sa.insert(ACCOUNTS).values(values | {"disabled": False, "created": datetime.now(UTC)})
            )
    engine.dispose()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{free.getsockname()[1]}"
    hub = whole_hub(store.parent)
    words = ["dashboard", "serve", "--store", str(store), "--listen", listen, "--hub", str(hub.hub.path)]
    process = subprocess.Popen([sys.executable, "-m", "server.main", *words], stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as client:
            assert client.get(f"http://{listen}/health", timeout=60).status_code == 200
        yield Site(f"http://{listen}", store, finished, hub=hub)
    finally:
        process.terminate()
        process.wait(timeout=60)


def _real(engine: sa.Engine, folder: str) -> str | None:
    """Take in a real run's records; returns its study."""
    for name, outbox in find_outboxes(Path(folder)) if folder else ():
        ingest(engine, outbox, name)
    with engine.connect() as connection:
        return connection.execute(sa.select(STUDIES.c.study_uid)).scalars().first()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium, for a module."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def context(browser: Browser, request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    """Open a window of its own; a test may ask for another by `indirect` parameters."""
    given: dict[str, object] = getattr(request, "param", {})
    opened = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | given))  # type: ignore[arg-type]
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()


@pytest.fixture
def reader(context: BrowserContext, site: Site) -> Reader:
    """Return a reader who has not logged in; whatever would leave this machine is stopped and written down."""
    return Reader.before(context, site.address)
