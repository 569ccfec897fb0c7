"""Which store a command works on: an option that all commands about the dashboard share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import sqlalchemy as sa
import typer

from server.store.database import open_store
from shared.errors import ConfigError

DEFAULT: Final = "hub/audit/store.sqlite"
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="ROUNDS_STORE",
        help=f"the store: a file or a URL such as postgresql+psycopg://USER@HOST/NAME; {DEFAULT} when not given",
        show_envvar=True,
    ),
]


@contextmanager
def store_of(given: str | None, *, new: bool = False) -> Iterator[sa.Engine]:
    """Yield the store; `ConfigError` where it is a file that does not exist, unless it may be made `new`."""
    where = given or DEFAULT
    if "://" not in where and not Path(where).is_file() and not new:
        raise ConfigError(
            f"--store is {where!r}: no such file; give the store of a hub (HUB/audit/store.sqlite) or of results"
        )
    engine = open_store(where)
    try:
        yield engine
    finally:
        engine.dispose()
