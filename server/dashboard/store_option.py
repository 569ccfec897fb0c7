"""Which store a command works on: an option that all commands about the dashboard share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import sqlalchemy as sa
import typer

from server.store.database import open_store

DEFAULT: Final = "hub/audit/store.sqlite"
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="ROUNDS_STORE",
        help=f"the store: a file or a URL such as postgresql://USER@HOST/NAME; {DEFAULT} when not given",
        show_envvar=True,
    ),
]


@contextmanager
def store_of(given: str | None) -> Iterator[sa.Engine]:
    """Yield the store; `StoreError` where there is none."""
    engine = open_store(given or DEFAULT, must_exist=True)
    try:
        yield engine
    finally:
        engine.dispose()
