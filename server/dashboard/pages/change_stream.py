"""Telling readers that what a page shows changed, and nothing else: the page then asks for it.

In: how to tell its version, a reader's session. Out: a stream of events named `changed`, and `ended` once the session
or the server ends. Each carries a version as its id, so that a reader who was cut off learns what he missed.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool
from fastapi.sse import ServerSentEvent

from server.dashboard.auth import sessions
from server.dashboard.http.settings import Settings
from server.dashboard.views.head import Head
from server.store.schema import SOURCES, STUDIES

_RETRY_MILLISECONDS: Final = 1_000  # a browser that lost the server asks again after this
GONE: Final = "gone"


@dataclass(frozen=True)
class Watch:
    """One reader's look at one thing; `closing` is set once this process is to end.

    `look` returns the thing's version, None where it is gone.
    """

    engine: sa.Engine
    settings: Settings
    look: Callable[[sa.Connection], str | None]
    visit: sessions.Visit
    closing: asyncio.Event

    async def events(self, since: str) -> AsyncIterator[ServerSentEvent]:
        """Yield `changed` whenever the version is no longer as it was at `since`."""
        seen = since
        yield ServerSentEvent(comment="watching", retry=_RETRY_MILLISECONDS)
        while True:
            now = GONE if self.closing.is_set() else await run_in_threadpool(self._look)
            if now == GONE:
                break
            if now != seen:
                seen = now
                yield ServerSentEvent(event="changed", id=now, raw_data="changed")
            await self._pause()
        if not self.closing.is_set():  # the server comes back, a session does not
            yield ServerSentEvent(event="ended", raw_data="ended")

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self.settings.stream_seconds):
                await self.closing.wait()
        except TimeoutError:
            pass

    def _look(self) -> str:
        """Return the version; `GONE` where the session or the thing is."""
        with self.engine.connect() as connection:
            visit = sessions.look_up(connection, self.visit.token, self.settings)
            if visit is None or visit.role != self.visit.role:
                return GONE
            found = self.look(connection)
        return GONE if found is None else found


def study_version(connection: sa.Connection, study_uid: str) -> str | None:
    """Return the version of a study as the store has it; None where there is none."""
    row = connection.execute(
        sa.select(STUDIES.c.updated, SOURCES.c.last_received)
        .outerjoin(SOURCES, SOURCES.c.source == STUDIES.c.source)
        .where(STUDIES.c.study_uid == study_uid)
    ).one_or_none()
    return None if row is None else version(row.updated, row.last_received)


def version_of(head: Head) -> str:
    """Return the version that a page was made from."""
    return version(head.updated, head.received)


def version(updated: datetime, received: datetime | None) -> str:
    """Return what differs once a record of a study, from whatever source, has arrived."""
    return "-".join(str(_microseconds(one)) for one in (updated, received))


def _microseconds(when: datetime | None) -> int:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return 0 if when is None else int((when - epoch).total_seconds() * 1_000_000)
