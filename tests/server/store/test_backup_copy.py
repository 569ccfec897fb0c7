"""A copy of a store for a backup: everything but the blobs."""

from pathlib import Path

import sqlalchemy as sa

from server.store.append import append_own
from server.store.backup_copy import bytes_without_blobs
from server.store.database import open_store, writing
from server.store.record_kinds import PersonBody
from server.store.schema import BLOBS, METADATA
from server.store.triggers import missing_triggers
from tests.audit_records import fill, small_study


def test_all_rows_but_blobs_are_copied_while_others_write(tmp_path: Path) -> None:
    """Each table has the same rows, the triggers work, and a writer's open transaction is left out."""
    store = open_store(tmp_path / "store.sqlite")
    fill(store, small_study())
    with writing(store).begin() as connection:
        append_own(connection, "people", "", PersonBody(person="ada", what="not yet written"))
        copied = bytes_without_blobs(tmp_path / "store.sqlite")
        connection.rollback()
    (tmp_path / "copy.sqlite").write_bytes(copied)
    copy = open_store(tmp_path / "copy.sqlite")
    with store.connect() as here, copy.connect() as there:
        for table in METADATA.sorted_tables:
            rows = [list(one.execute(sa.select(table))) for one in (here, there)]
            assert rows[1] == ([] if table is BLOBS else rows[0]), table.name
            assert table is not BLOBS or rows[0] != []
        assert missing_triggers(there) == []
