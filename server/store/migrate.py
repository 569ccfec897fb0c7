"""Bringing a store's tables to those of this version, by Alembic's revisions in `migrations`.

In: an engine. Out: the same, changed in one transaction where it was older. A store of a newer version is refused: what
this one does not know it might break.
"""

import sqlalchemy as sa

from server.store.migrations import HEAD, REVISIONS
from server.store.rebuild import rebuild
from server.store.transactions import writing
from server.store.triggers import make_triggers
from shared.errors import StoreError


def bring_up_to_date(engine: sa.Engine) -> bool:
    """Make the tables or change them to this version's; returns whether anything was to be done."""
    with engine.connect() as connection:
        if version_of(connection) == HEAD:
            return False
    with writing(engine).begin() as connection:
        before = version_of(connection)  # again: another process may have been first
        if before == HEAD:
            return False
        _upgrade(connection)
        make_triggers(connection)
        if before is not None:
            rebuild(connection)  # what was made by the older version's rules
        return True


def version_of(connection: sa.Connection) -> str | None:
    """Return the revision of a store's tables, None where there are none; `StoreError` for one that is not known."""
    tables = sa.inspect(connection).get_table_names()
    if "alembic_version" not in tables:
        if tables:
            raise StoreError(
                f"store: holds other tables ({', '.join(sorted(tables)[:3])}); give a database of its own"
            )
        return None
    version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if version is not None and version not in REVISIONS:
        raise StoreError(
            f"store: was written by a newer version (tables {version}, this one knows {HEAD}); update teaching-rounds"
        )
    return version


def _upgrade(connection: sa.Connection) -> None:
    from alembic import command  # noqa: PLC0415 - takes a third of a second, and is seldom needed
    from alembic.config import Config  # noqa: PLC0415 - likewise

    config = Config()
    config.set_main_option("script_location", "server.store:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
