"""Sessions of people who logged in: in the store, so that any of them can be ended at any moment.

In: the random value of a cookie. Out: who that is now. Only its SHA-256 is stored: a copy of the store logs nobody in.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from server.dashboard.http.settings import Settings
from server.store.schema import ACCOUNTS, SESSIONS

_TOKEN_BYTES: Final = 32
_SEEN_STEP: Final = timedelta(seconds=60)  # idle time is kept this exactly, so that reading seldom writes


@dataclass(frozen=True)
class Visit:
    """A session: who, in which role, and when the password was last given (`proved`)."""

    token: str
    person: str
    role: str
    csrf: str
    began: datetime
    seen: datetime
    proved: datetime
    must_change: bool

    def is_fresh(self, settings: Settings, now: datetime | None = None) -> bool:
        """Tell whether the password was given recently enough for a decision."""
        return (now or datetime.now(UTC)) - self.proved <= settings.fresh

    def wants_seen(self, now: datetime) -> bool:
        """Tell whether it is time to note that this person is still there."""
        return now - self.seen >= _SEEN_STEP


def hashed(cookie: str) -> str:
    """Return what the store knows a random token by."""
    return hashlib.sha256(cookie.encode()).hexdigest()


def begin(connection: sa.Connection, person: str, now: datetime | None = None) -> str:
    """Make a session of a person who has just given the password; returns the cookie's value."""
    cookie, moment = secrets.token_urlsafe(_TOKEN_BYTES), now or datetime.now(UTC)
    connection.execute(
        sa.insert(SESSIONS).values(
            token=hashed(cookie), person=person, csrf=secrets.token_urlsafe(_TOKEN_BYTES), began=moment,
            seen=moment, proved=moment,
        )
    )  # fmt: skip
    return cookie


def look_up(
    connection: sa.Connection, token: str, settings: Settings, now: datetime | None = None
) -> Visit | None:
    """Return the live session of a hashed token; None where it ended, or its account is disabled."""
    moment = now or datetime.now(UTC)
    row = connection.execute(
        sa.select(
            SESSIONS.c.token, SESSIONS.c.person, ACCOUNTS.c.role, SESSIONS.c.csrf, SESSIONS.c.began,
            SESSIONS.c.seen, SESSIONS.c.proved, ACCOUNTS.c.must_change,
        )
        .join(ACCOUNTS, ACCOUNTS.c.name == SESSIONS.c.person)
        .where(
            SESSIONS.c.token == token,
            SESSIONS.c.seen > moment - settings.idle,
            SESSIONS.c.began > moment - settings.longest,
            ACCOUNTS.c.disabled.is_(False),
        )
    ).one_or_none()  # fmt: skip
    return None if row is None else Visit(*row)


def of_person(
    connection: sa.Connection, person: str, settings: Settings
) -> list[tuple[str, datetime, datetime]]:
    """Return the live sessions of a person, the last seen first: hashed token, when it began, when last seen."""
    now = datetime.now(UTC)
    rows = connection.execute(
        sa.select(SESSIONS.c.token, SESSIONS.c.began, SESSIONS.c.seen)
        .where(
            SESSIONS.c.person == person, SESSIONS.c.seen > now - settings.idle,
            SESSIONS.c.began > now - settings.longest,
        )
        .order_by(SESSIONS.c.seen.desc())
    )  # fmt: skip
    return [(token, began, seen) for token, began, seen in rows]


def note_seen(connection: sa.Connection, token: str, now: datetime | None = None) -> None:
    """Note that this person is still there."""
    connection.execute(
        sa.update(SESSIONS).where(SESSIONS.c.token == token).values(seen=now or datetime.now(UTC))
    )


def prove(connection: sa.Connection, token: str, now: datetime | None = None) -> None:
    """Note that the password was given again."""
    moment = now or datetime.now(UTC)
    connection.execute(
        sa.update(SESSIONS).where(SESSIONS.c.token == token).values(proved=moment, seen=moment)
    )


def end(connection: sa.Connection, token: str) -> None:
    """End one session."""
    connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.token == token))


def end_all(connection: sa.Connection, person: str, but: str = "") -> None:
    """End all sessions of a person, but for one."""
    connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.person == person, SESSIONS.c.token != but))


def sweep(connection: sa.Connection, settings: Settings, now: datetime | None = None) -> None:
    """Delete what has ended by itself."""
    moment = now or datetime.now(UTC)
    connection.execute(
        sa.delete(SESSIONS).where(
            sa.or_(SESSIONS.c.seen <= moment - settings.idle, SESSIONS.c.began <= moment - settings.longest)
        )
    )
