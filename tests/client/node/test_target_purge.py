"""What a running site does though nobody asks it anything."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from client.node.target_purge import Upkeep
from client.rounds.local_training import fill_target_cache
from client.site.site import Site

EVERY_SECONDS = 3600.0


def num_targets(site: Site) -> int:
    with closing(sqlite3.connect(site.config.state_dir / "targets.sqlite")) as database:
        return int(database.execute("SELECT count(*) FROM targets").fetchone()[0])


@pytest.fixture
def site(tiny_federation: Any, tmp_path: Path) -> Site:
    """Open a site whose cache holds the targets of a study that ended yesterday."""
    made: Site = tiny_federation.site("film", tmp_path)
    with made.ledger():
        pass
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    fill_target_cache(made, tiny_federation.study.model_copy(update={"expires": yesterday}))
    assert num_targets(made) == 4
    return made


def finish(upkeep: Upkeep) -> None:
    """Wait for the purge that goes on."""
    assert upkeep.running is not None
    upkeep.running.join(30)
    assert not upkeep.running.is_alive()


def test_targets_end_with_their_study_at_a_site_that_nobody_asks(site: Site) -> None:
    """No request and no command is needed: the first look purges, and the next comes an hour later."""
    upkeep = Upkeep(site)
    upkeep()
    finish(upkeep)
    assert num_targets(site) == 0
    first = upkeep.running
    upkeep()
    assert upkeep.running is first
    upkeep.next_time -= EVERY_SECONDS
    upkeep()
    assert upkeep.running is not first
    finish(upkeep)


def test_what_cannot_be_purged_now_is_tried_again(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A file that is no database is a line in the site's log, without its path, and ends nothing."""
    (site.config.state_dir / "targets.sqlite").write_bytes(b"no database" * 100)
    upkeep = Upkeep(site)
    upkeep()
    finish(upkeep)
    (line,) = [one.getMessage() for one in caplog.records]
    assert line == "targets could not be purged, tried again in an hour: DatabaseError"
