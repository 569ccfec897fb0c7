"""A hub that takes records, for the tests of the feed: real certificates, a real gRPC server, a real store.

`FeedHub` serves in this process, on the loopback; `bodies` are records as a study writes them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from server.feed.sender_certificates import Senders
from server.feed.service import FeedServer, start_server
from server.hub.certificates import Names
from server.hub.hub_folder import HubFolder, make_hub
from server.store.chain import Record
from server.store.database import open_store
from server.store.intake.outbox import Outbox
from server.store.record_kinds import EventBody
from server.store.schema import EVENTS, RECORDS

RUN, UID = "lungs-20261120-190000", "0" * 32


@dataclass
class FeedHub:
    """A made hub, its store, and the server that is listening now."""

    hub: HubFolder
    server: FeedServer
    store: sa.Engine
    runs: Path
    served: list[FeedServer] = field(default_factory=list)

    @property
    def senders(self) -> Senders:
        return Senders(self.hub.feed)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def file(self, run: str = RUN) -> Path:
        """Return the file with which a run's records are sent."""
        return self.senders.issue_own(run, self.address, self.hub.ca_file.read_bytes())

    def outbox(self, run: str = RUN) -> Outbox:
        folder = self.runs / run
        folder.mkdir(parents=True, exist_ok=True)
        return Outbox(folder)

    def records(self, source: str = f"study/{RUN}") -> list[Record]:
        """Return what the store holds of a source, in the order of its rows."""
        columns = [RECORDS.c[name] for name in Record.model_fields]
        query = sa.select(*columns).where(RECORDS.c.source == source).order_by(RECORDS.c.id)
        with self.store.begin() as connection:
            return [Record(**row._asdict()) for row in connection.execute(query)]

    def incidents(self) -> list[str]:
        """Return what the page shows as incidents."""
        query = sa.select(EVENTS.c.what).where(EVENTS.c.kind == "incident").order_by(EVENTS.c.id)
        with self.store.begin() as connection:
            return list(connection.execute(query).scalars())

    def stop(self) -> None:
        self.server.end()

    def start_again(self) -> None:
        """Serve at the same address as before."""
        self.server = start_server(self.hub, self.address)
        self.server.open(self.store)


@contextmanager
def feed_hub(folder: Path, store: str | Path | None = None) -> Iterator[FeedHub]:
    """Make and serve a hub; on leaving, it has ended."""
    hub = make_hub(folder / "hub", "tiny", "127.0.0.1:8443", Names.of([], ["127.0.0.1"]))
    Senders(hub.feed).prepare("tiny")
    server = start_server(hub, "127.0.0.1:0")
    made = FeedHub(hub, server, open_store(store or hub.store()), folder / "runs")
    server.open(made.store)
    try:
        yield made
    finally:
        made.stop()
        made.store.dispose()


def events(number: int, first: int = 1) -> list[EventBody]:
    """Return so many records, each another one."""
    return [EventBody(event="tried", round=one, what=f"number {one}") for one in range(first, first + number)]
