"""Accounts: made, given a role, disabled and given a new password, each step chained in the transaction that does it.

In: an open write transaction. Out: rows of `accounts`, and records of the source `people`.
"""

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import sqlalchemy as sa

from server.dashboard.auth import sessions
from server.dashboard.auth.passwords import hash_password, one_time_password
from server.dashboard.auth.roles import ROLES
from server.store.append import append_own
from server.store.record_kinds import PersonBody
from server.store.schema import ACCOUNTS
from shared.errors import ConfigError

SOURCE: Final = "people"
OPERATOR: Final = "the operator's terminal"
FIRST: Final = "admin"
_LONGEST_NAME: Final = 100


@dataclass(frozen=True)
class Account:
    """A person who may log in."""

    name: str
    role: str
    must_change: bool
    disabled: bool
    created: datetime


def tell(connection: sa.Connection, person: str, what: str, *, by: str = "", address: str = "") -> None:
    """Chain what happened to a person's account, in this very transaction."""
    append_own(connection, SOURCE, "", PersonBody(person=person, what=what, by=by, address=address))


def accounts(connection: sa.Connection) -> list[Account]:
    """Return all accounts by name."""
    columns = (
        ACCOUNTS.c.name,
        ACCOUNTS.c.role,
        ACCOUNTS.c.must_change,
        ACCOUNTS.c.disabled,
        ACCOUNTS.c.created,
    )
    return [Account(*row) for row in connection.execute(sa.select(*columns).order_by(ACCOUNTS.c.name))]


def account(connection: sa.Connection, name: str) -> Account:
    """Return one account; `ConfigError` where there is none."""
    for one in accounts(connection):
        if one.name == name:
            return one
    raise ConfigError(f"person {name!r}: has no account; `rounds-hub people list` shows who has one")


def password_hash(connection: sa.Connection, name: str) -> str | None:
    """Return the stored hash of an account that may log in; None where there is none."""
    found: str | None = connection.execute(
        sa.select(ACCOUNTS.c.password).where(ACCOUNTS.c.name == name, ACCOUNTS.c.disabled.is_(False))
    ).scalar_one_or_none()
    return found


def add(connection: sa.Connection, name: str, role: str, by: str, password: str, hashed: str) -> str:
    """Make an account with a one-time password; returns the password, which nothing else holds."""
    clean = clean_name(name)
    _check_role(role)
    if any(one.name.casefold() == clean.casefold() for one in accounts(connection)):
        raise ConfigError(f"person {clean!r}: has an account already; give another name")
    connection.execute(
        sa.insert(ACCOUNTS).values(
            name=clean,
            role=role,
            password=hashed,
            must_change=True,
            disabled=False,
            created=datetime.now(UTC),
        )
    )
    tell(connection, clean, f"got an account as {role}", by=by)
    return password


def change_role(connection: sa.Connection, name: str, role: str, by: str) -> None:
    """Give another role, and end the person's sessions: what they see was made for the old one."""
    _check_role(role)
    before = account(connection, name)
    if before.role == role:
        return
    if role != "coordinator":
        _keep_a_coordinator(connection, before)
    _change(connection, name, role=role)
    sessions.end_all(connection, name)
    tell(connection, name, f"is {role} now, was {before.role}", by=by)


def disable(connection: sa.Connection, name: str, by: str) -> None:
    """Let a person log in no more, and end their sessions; the account stays, its records name it."""
    before = account(connection, name)
    if before.disabled:
        return
    _keep_a_coordinator(connection, before)
    _change(connection, name, disabled=True)
    sessions.end_all(connection, name)
    tell(connection, name, "was disabled", by=by)


def enable(connection: sa.Connection, name: str, by: str) -> None:
    """Let a person log in again."""
    if account(connection, name).disabled:
        _change(connection, name, disabled=False)
        tell(connection, name, "was enabled", by=by)


def reset(connection: sa.Connection, name: str, by: str, hashed: str) -> None:
    """Give a new one-time password, and end the person's sessions."""
    account(connection, name)
    _change(connection, name, password=hashed, must_change=True)
    sessions.end_all(connection, name)
    tell(connection, name, "got a new one-time password", by=by)


def set_password(connection: sa.Connection, name: str, hashed: str, address: str) -> None:
    """Keep the password that a person chose."""
    _change(connection, name, password=hashed, must_change=False)
    tell(connection, name, "chose a password", address=address)


def first_administrator(connection: sa.Connection) -> str | None:
    """Make the first coordinator where the store has no account; returns the one-time password, else None."""
    if accounts(connection):
        return None
    password = one_time_password()
    return add(connection, FIRST, "coordinator", OPERATOR, password, hash_password(password))


def clean_name(name: str) -> str:
    """Return a name in one spelling; `ConfigError` where it is none."""
    clean = " ".join(unicodedata.normalize("NFC", name).split())
    if not 1 <= len(clean) <= _LONGEST_NAME or not clean.isprintable():
        raise ConfigError(
            f"person {name[:_LONGEST_NAME]!r}: allowed are 1 to {_LONGEST_NAME} printable characters; change it"
        )
    return clean


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise ConfigError(f"role is {role!r}: allowed are {', '.join(ROLES)}; choose one")


def _keep_a_coordinator(connection: sa.Connection, leaving: Account) -> None:
    able = [one for one in accounts(connection) if one.role == "coordinator" and not one.disabled]
    if [one.name for one in able] == [leaving.name]:
        raise ConfigError(
            f"person {leaving.name!r}: is the only coordinator who can log in; make another one first"
        )


def _change(connection: sa.Connection, name: str, **values: object) -> None:
    connection.execute(sa.update(ACCOUNTS).where(ACCOUNTS.c.name == name).values(**values))
