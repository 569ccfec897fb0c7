"""`rounds-hub serve --results`: the audit of runs on this machine, with no other set-up."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from server.store.intake.outbox import Outbox
from tests.audit_records import running_study, small_study
from tests.dashboard_server import Running, started
from tests.dashboard_site import PASSWORD, RUNNING, SMALL, token_in

HERE = {"sec-fetch-site": "same-origin"}
SECONDS = 60


def write(folder: Path, uid: str, *, running: bool) -> Outbox:
    """Write a run's outbox as a study process does."""
    folder.mkdir(parents=True)
    outbox = Outbox(folder)
    entries = running_study(3) if running else small_study()
    outbox.add(uid, *(body for body, _ in entries), blobs=[blob for _, blobs in entries for blob in blobs])
    return outbox


@contextmanager
def log_in(running: Running) -> Iterator[httpx.Client]:
    """Come as the first administrator, who chooses a password."""
    with httpx.Client(base_url=running.url, headers=HERE, timeout=SECONDS) as client:
        client.post("/login", data={"name": "admin", "password": running.password or ""})
        form = {"old": running.password or "", "new": PASSWORD, "again": PASSWORD}
        token = token_in(client.get("/account/password").text)
        client.post("/account/password", data=form | {"csrf": token})
        yield client


def test_finished_and_running_runs_are_shown_with_no_other_set_up(tmp_path: Path) -> None:
    """A folder of runs is enough: both studies are there, and a round that is closed later arrives while one looks."""
    results = tmp_path / "results"
    write(results / "done", SMALL, running=False)
    outbox = write(results / "going-on", RUNNING, running=True)
    (results / "latest").symlink_to("going-on")
    with started("serve", "--results", str(results)) as running, log_in(running) as client:
        page = client.get("/studies").text
        assert f"/studies/{SMALL}" in page
        assert f"/studies/{RUNNING}" in page
        assert "3 of 8" in page
        watched = client.get(f"/studies/{RUNNING}/events").text
        stream = watched.partition('sse-connect="')[2].partition('"')[0]
        rest = [body for body, _ in running_study(4)[len(running_study(3)) :]]
        outbox.add(RUNNING, *rest)
        with client.stream("GET", stream) as told:
            assert next(line for line in told.iter_lines() if line.startswith("event: ")) == "event: changed"
        assert running.stop() == 0
    store = results / "store.sqlite"
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    with started("serve", "--results", str(results)) as again:
        assert again.password is None


def test_a_folder_that_is_none_is_said_in_a_sentence(tmp_path: Path) -> None:
    """Nothing is served, and the sentence says what to give."""
    with (
        pytest.raises(AssertionError, match="is no folder; give a run's folder"),
        started("serve", "--results", str(tmp_path / "nothing")),
    ):
        pytest.fail("it was served")
