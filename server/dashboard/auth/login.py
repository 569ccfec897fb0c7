"""Logging in: throttled, then hashed, then throttled again, and each outcome chained.

In: a name, a password and the address that they came from. Out: a new session, or a refusal that does not tell whether
the account exists.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from fastapi.concurrency import run_in_threadpool

from server.dashboard.auth import accounts as people
from server.dashboard.auth import sessions, throttle
from server.dashboard.auth.passwords import LONGEST, Hashing
from server.dashboard.http.error_pages import TooMany
from server.dashboard.http.settings import Settings
from server.store.database import writing

WRONG = "This name and password do not fit. After five wrong tries in a minute, nobody is heard for a minute."


@dataclass(frozen=True)
class Try:
    """Somebody gives a name and a password."""

    name: str
    password: str
    address: str


async def log_in(
    engine: sa.Engine, settings: Settings, hashing: Hashing, given: Try, old: str = ""
) -> str | None:
    """Return the cookie of a new session, None where name and password do not fit; `TooMany` where nobody is heard.

    `old` is the hashed token of the session that this browser had: it ends.
    """
    if not await proved(engine, hashing, given):
        return None
    return await run_in_threadpool(_begin, engine, settings, given, old)


async def proved(engine: sa.Engine, hashing: Hashing, given: Try) -> bool:
    """Tell whether the password is this person's; wrong tries are counted and chained."""
    stored = await run_in_threadpool(_heard, engine, given)
    fits = len(given.password) <= LONGEST and await hashing.fits(stored, given.password)
    return await run_in_threadpool(_judged, engine, given, fits=fits)


def _heard(engine: sa.Engine, given: Try) -> str | None:
    """Refuse before anything is hashed; returns the stored hash."""
    with engine.connect() as connection:
        _check(connection, given)
        return people.password_hash(connection, given.name)


def _judged(engine: sa.Engine, given: Try, *, fits: bool) -> bool:
    """Count and chain a wrong try; asked again, since others may have been judged while this one was hashed."""
    with writing(engine).begin() as connection:
        _check(connection, given)
        if fits:
            return True
        address = throttle.counted_address(given.address)
        throttle.note_wrong(connection, given.name, address)
        is_known = people.password_hash(connection, given.name) is not None
        # a name that is nobody's may be a password in the wrong field: it is not kept in the chain
        people.tell(
            connection, given.name if is_known else "somebody", "login refused", address=given.address
        )
        if throttle.seconds_to_wait(connection, given.name, address):
            people.tell(
                connection, given.name if is_known else "somebody",
                "not heard for a minute: five wrong logins", address=given.address,
            )  # fmt: skip
        return False


def _check(connection: sa.Connection, given: Try) -> None:
    seconds = throttle.seconds_to_wait(connection, given.name, throttle.counted_address(given.address))
    if seconds:
        raise TooMany(seconds)


def _begin(engine: sa.Engine, settings: Settings, given: Try, old: str) -> str:
    with writing(engine).begin() as connection:
        if old:
            sessions.end(connection, old)
        people.tell(connection, given.name, "logged in", address=given.address)
        sessions.sweep(connection, settings)
        return sessions.begin(connection, given.name)
