"""Tokens of the read-only API: made at the operator's terminal, shown once, stored hashed, and ended at any moment.

In: an open transaction. Out: rows of `tokens`, and a record of the source `people` for each token made or revoked.
"""

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import sqlalchemy as sa

from server.dashboard.auth.accounts import OPERATOR, clean_name, tell
from server.dashboard.auth.sessions import hashed
from server.store.schema import TOKENS
from shared.errors import ConfigError

PREFIX: Final = "rounds_"  # so that scanners of source code find one that was left there
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True)
class Token:
    """A program that may read."""

    name: str
    created: datetime
    expires: datetime
    revoked: bool

    def is_live(self, now: datetime | None = None) -> bool:
        """Tell whether it still opens the API."""
        return not self.revoked and (now or datetime.now(UTC)) < self.expires


def new(connection: sa.Connection, name: str, days: int, now: datetime | None = None) -> str:
    """Make a token for a program; returns what the program sends, which nothing else holds."""
    clean, moment = clean_name(name), now or datetime.now(UTC)
    if any(one.name == clean and one.is_live(moment) for one in tokens(connection)):
        raise ConfigError(
            f"token {clean!r}: there is a live one of this name; revoke it or give another name"
        )
    said = PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
    connection.execute(
        sa.insert(TOKENS).values(
            token=hashed(said),
            name=clean,
            created=moment,
            expires=moment + timedelta(days=days),
            revoked=False,
        )
    )
    tell(connection, f"token {clean}", f"was made for {days} days", by=OPERATOR)
    return said


def revoke(connection: sa.Connection, name: str) -> None:
    """End the live tokens of a name."""
    if not any(one.name == name and one.is_live() for one in tokens(connection)):
        raise ConfigError(f"token {name!r}: there is no live one; `rounds-hub token list` shows them")
    connection.execute(sa.update(TOKENS).where(TOKENS.c.name == name).values(revoked=True))
    tell(connection, f"token {name}", "was revoked", by=OPERATOR)


def tokens(connection: sa.Connection) -> list[Token]:
    """Return all tokens, the newest first."""
    columns = (TOKENS.c.name, TOKENS.c.created, TOKENS.c.expires, TOKENS.c.revoked)
    return [Token(*row) for row in connection.execute(sa.select(*columns).order_by(TOKENS.c.created.desc()))]


def look_up(connection: sa.Connection, said: str, now: datetime | None = None) -> Token | None:
    """Return the live token that a program sent; None where there is none."""
    columns = (TOKENS.c.name, TOKENS.c.created, TOKENS.c.expires, TOKENS.c.revoked)
    row = connection.execute(sa.select(*columns).where(TOKENS.c.token == hashed(said))).one_or_none()
    token = None if row is None else Token(*row)
    return token if token is not None and token.is_live(now) else None
