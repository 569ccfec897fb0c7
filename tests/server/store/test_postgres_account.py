"""On PostgreSQL the hub needs no more rights than `deploy/README.md` says, and none over evidence."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from server.store.database import open_store
from server.store.rebuild import rebuild
from server.store.schema import METADATA
from server.store.transactions import writing
from server.store.verification.verify import verify
from shared.errors import StoreError
from tests.audit_records import fill, running_study
from tests.postgres import new_database

GROWING = ("records", "blobs")


def test_an_account_that_owns_nothing_keeps_the_store(postgres: str) -> None:
    """With the stated rights the hub fills, rebuilds and verifies a store, and can touch no evidence."""
    owners = open_store(new_database(postgres))
    names = ", ".join(METADATA.tables)
    changing = ", ".join(name for name in METADATA.tables if name not in (*GROWING, "sources"))
    with writing(owners).begin() as connection:
        connection.exec_driver_sql("CREATE ROLE hub LOGIN")
        connection.exec_driver_sql(f"GRANT SELECT, INSERT ON {names}, alembic_version TO hub")
        connection.exec_driver_sql(f"GRANT UPDATE, DELETE ON {changing} TO hub")
        connection.exec_driver_sql("GRANT UPDATE ON sources TO hub")
        connection.exec_driver_sql("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hub")
    hub = open_store(owners.url.set(username="hub").render_as_string())
    fill(hub, running_study(2))
    with writing(hub).begin() as connection:
        rebuild(connection)
    assert verify(hub).findings == ()
    for statement in ("ALTER TABLE records DISABLE TRIGGER ALL", "DROP TABLE blobs", "DELETE FROM records"):
        with (
            writing(hub).connect() as connection,
            pytest.raises(DBAPIError, match=r"owner|permission denied"),
        ):
            connection.exec_driver_sql(statement)
    hub.dispose()
    owners.dispose()


def test_an_account_without_rights_is_told_so(postgres: str) -> None:
    """An account that may make no tables gets one sentence, not a traceback."""
    url = sa.make_url(new_database(postgres))
    owner = sa.create_engine(url.set(drivername="postgresql+psycopg"))
    with owner.begin() as connection:
        connection.exec_driver_sql("CREATE ROLE visitor LOGIN")
    owner.dispose()
    with pytest.raises(
        StoreError, match="cannot be opened; check the path or that the database runs and lets this"
    ):
        open_store(url.set(username="visitor").render_as_string())
