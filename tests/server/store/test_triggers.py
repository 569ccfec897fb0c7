"""The database itself refuses to change or delete evidence, whoever asks."""

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from server.store.schema import BLOBS, RECORDS, SOURCES
from server.store.transactions import writing
from server.store.triggers import make_triggers, missing_triggers

REFUSED = {
    "a record changed": sa.update(RECORDS).where(RECORDS.c.id == 3).values(body="{}"),
    "all records changed to what they are": sa.update(RECORDS).values(id=RECORDS.c.id),
    "a record deleted": sa.delete(RECORDS).where(RECORDS.c.id == 3),
    "a blob changed": sa.update(BLOBS).values(media_type="text/html"),
    "a blob deleted": sa.delete(BLOBS),
    "a head put back": sa.update(SOURCES).values(seq=1),
    "a head under another name": sa.update(SOURCES).values(source="other", seq=SOURCES.c.seq + 1),
    "a head deleted": sa.delete(SOURCES),
}


@pytest.mark.parametrize("what", REFUSED)
def test_changing_evidence_is_refused(small_store: sa.Engine, what: str) -> None:
    """Whatever statement would change or delete evidence fails, and names the table."""
    with writing(small_store).connect() as connection, pytest.raises(DBAPIError, match="only grows"):
        connection.execute(REFUSED[what])


def test_replacing_evidence_is_refused_in_sqlite(small_store: sa.Engine) -> None:
    """INSERT OR REPLACE, which deletes a row without asking its triggers, is refused from any connection."""
    if small_store.dialect.name != "sqlite":
        small_store = small_store.execution_options()
        with writing(small_store).connect() as connection, pytest.raises(DBAPIError, match="only grows"):
            connection.exec_driver_sql(
                "INSERT INTO sources SELECT * FROM sources ON CONFLICT (source) DO UPDATE SET seq = 0"
            )
        return
    engine = sa.create_engine(small_store.url)  # without our own settings
    for table in ("records", "blobs", "sources"):
        with engine.connect() as connection, pytest.raises(DBAPIError, match=f"{table} only grows"):
            connection.exec_driver_sql(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} LIMIT 1")  # noqa: S608 - listed here
    engine.dispose()


def test_emptying_a_table_of_evidence_is_refused_in_postgresql(small_store: sa.Engine) -> None:
    """TRUNCATE, which no row sees, is refused too; SQLite has none."""
    if small_store.dialect.name == "sqlite":
        return
    for table in ("records", "blobs", "sources"):
        with writing(small_store).connect() as connection, pytest.raises(DBAPIError, match="only grows"):
            connection.exec_driver_sql(f"TRUNCATE {table} CASCADE")


def test_a_missing_trigger_is_told_and_made_again(store: sa.Engine) -> None:
    """A trigger that was taken away, or does nothing, is named; making them again brings all back."""
    with store.connect() as connection:
        assert missing_triggers(connection) == []
    on = "" if store.dialect.name == "sqlite" else " ON records"
    with writing(store).begin() as connection:
        connection.exec_driver_sql(f"DROP TRIGGER records_delete{on}")
        if store.dialect.name == "sqlite":
            connection.exec_driver_sql("DROP TRIGGER blobs_update")
            connection.exec_driver_sql(
                "CREATE TRIGGER blobs_update BEFORE UPDATE ON blobs BEGIN SELECT 1; END"
            )
        else:
            connection.exec_driver_sql("ALTER TABLE blobs DISABLE TRIGGER blobs_update")
    with store.connect() as connection:
        assert sorted(missing_triggers(connection)) == ["blobs_update", "records_delete"]
    with writing(store).begin() as connection:
        make_triggers(connection)
        assert missing_triggers(connection) == []
