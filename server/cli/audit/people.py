"""`rounds-hub people`: accounts, from the operator's terminal.

In: the store. Out: accounts, and one-time passwords printed once. Each change is chained as the operator's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import sqlalchemy as sa
import typer

from server.cli.audit.store_option import StoreOption, store_of
from server.dashboard.auth import accounts as people
from server.dashboard.auth.passwords import hash_password, one_time_password
from server.store.database import writing
from shared.terminal.command_line import examples, program
from shared.terminal.tables import plain_table, wide_console

app = program("People who may use the dashboard.")
Name = Annotated[str, typer.Argument(help="the person's name, as it stands under decisions")]
Role = Annotated[
    str, typer.Option(help="viewer (reads), auditor (also decides), coordinator (also accounts)")
]


@app.command(epilog=examples('rounds-hub people add "Ines Okafor" --role auditor'))
def add(name: Name, role: Role = "viewer", store: StoreOption = None) -> None:
    """Make an account, and print its one-time password."""
    password = one_time_password()
    with _change(store) as connection:
        people.add(connection, name, role, people.OPERATOR, password, hash_password(password))
    _tell(people.clean_name(name), password)


@app.command(name="role", epilog=examples('rounds-hub people role "Ines Okafor" coordinator'))
def change_role(
    name: Name,
    role: Annotated[str, typer.Argument(help="viewer, auditor or coordinator")],
    store: StoreOption = None,
) -> None:
    """Give another role; the person's sessions end."""
    with _change(store) as connection:
        people.change_role(connection, name, role, people.OPERATOR)


@app.command(epilog=examples('rounds-hub people disable "Ines Okafor"'))
def disable(name: Name, store: StoreOption = None) -> None:
    """Let a person log in no more; their sessions end, their records stay."""
    _each(people.disable, name, store)


@app.command(epilog=examples('rounds-hub people enable "Ines Okafor"'))
def enable(name: Name, store: StoreOption = None) -> None:
    """Let a person log in again."""
    _each(people.enable, name, store)


@app.command(epilog=examples('rounds-hub people reset "Ines Okafor"'))
def reset(name: Name, store: StoreOption = None) -> None:
    """Print a new one-time password; the person's sessions end."""
    password = one_time_password()
    with _change(store) as connection:
        people.reset(connection, name, people.OPERATOR, hash_password(password))
    _tell(name, password)


@app.command(name="list", epilog=examples("rounds-hub people list"))
def listed(store: StoreOption = None) -> None:
    """List accounts."""
    with store_of(store) as engine, engine.connect() as connection:
        rows = [
            (
                one.name, one.role, "disabled" if one.disabled else "active",
                "one-time password not used yet" if one.must_change else "", f"{one.created:%Y-%m-%d %H:%M} UTC",
            )
            for one in people.accounts(connection)
        ]  # fmt: skip
    wide_console().print(plain_table(("person", "role", "state", "", "made"), rows))


def _each(change: Callable[[sa.Connection, str, str], None], name: str, store: str | None) -> None:
    with _change(store) as connection:
        change(connection, name, people.OPERATOR)


@contextmanager
def _change(store: str | None) -> Iterator[sa.Connection]:
    with store_of(store) as engine, writing(engine).begin() as connection:
        yield connection


def _tell(name: str, password: str) -> None:
    typer.echo(f"One-time password of {name}, shown this once; it must be changed at the first login:")
    typer.echo(f"  {password}")
