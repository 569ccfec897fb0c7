"""Which store a command works on: an option that all commands about the dashboard share."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import sqlalchemy as sa
import typer

from server.store.database import open_store

HUBS, RESULTS = "hub/audit/store.sqlite", "results/store.sqlite"
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="ROUNDS_STORE",
        help=f"the store: a file, or postgresql://USER@HOST/NAME; {HUBS} when not given, {RESULTS} where only that is",
        show_envvar=True,
    ),
]


def usual_store() -> str:
    """Return where the store is when nobody says: in the hub's folder, or else beside the results of simulations."""
    return RESULTS if Path(RESULTS).is_file() and not Path(HUBS).is_file() else HUBS


@contextmanager
def store_of(given: str | None) -> Iterator[sa.Engine]:
    """Yield the store; `StoreError` where there is none."""
    engine = open_store(given or usual_store(), must_exist=True)
    try:
        yield engine
    finally:
        engine.dispose()
