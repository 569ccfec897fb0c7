"""Records and blobs on their way from an outbox to the store: all of them, in order, once."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from server.feed.connection import Connection
from server.feed.credential import read_credential
from server.feed.delivery import Delivery, parts
from server.feed.messages import MAX_BATCH_BYTES
from server.feed.sender import Sender
from server.store.append import Head
from server.store.chain import GENESIS, Record, link
from server.store.database import open_store, writing
from server.store.intake.outbox import Blob, Outbox
from server.store.record_kinds import EventBody, ModelBody
from server.store.schema import BLOBS
from shared.errors import ChainConflictError
from tests.feed_hub import UID, FeedHub, events


def sent(hub: FeedHub, outbox: Outbox) -> str | None:
    """Send all there is; returns what went wrong."""
    sender = Sender(outbox.path.parent, hub.file(outbox.path.parent.name))
    try:
        failure = sender.attempt()
        return None if failure is None else failure.sentence
    finally:
        sender.close()


def test_everything_arrives_in_order_with_its_hash(hub: FeedHub) -> None:
    """1,234 records in several batches are the outbox's own, number by number and hash by hash."""
    outbox = hub.outbox()
    outbox.add(UID, *events(1234))
    assert sent(hub, outbox) is None
    assert hub.records() == outbox.after(0, 2000)


def test_sending_again_adds_nothing(hub: FeedHub) -> None:
    """The same batch twice is the same as once, and the reply is the same head."""
    outbox = hub.outbox()
    outbox.add(UID, *events(20))
    with Connection(read_credential(hub.file())) as connection:
        heads = {connection.append(outbox.after(0, 20)) for _ in range(3)} | {
            connection.append(outbox.after(5, 3))
        }
    assert heads == {outbox.head()}
    assert len(hub.records()) == 20


def test_only_what_is_new_is_sent(hub: FeedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sender that begins anew asks for the head first and sends what follows it."""
    outbox = hub.outbox()
    outbox.add(UID, *events(30))
    assert sent(hub, outbox) is None
    outbox.add(UID, *events(3, first=31))
    batches: list[list[int]] = []
    append = Connection.append
    monkeypatch.setattr(
        Connection,
        "append",
        lambda self, batch: batches.append([one.seq for one in batch]) or append(self, batch),
    )
    assert sent(hub, outbox) is None
    assert batches == [[31, 32, 33]]


def test_a_store_that_was_lost_is_filled_again(hub: FeedHub, tmp_path: Path) -> None:
    """Nothing is deleted at the sender: an empty store gets everything, blobs too."""
    outbox = hub.outbox()
    blob = Blob(b"weights", "application/octet-stream")
    outbox.add(UID, *events(7), ModelBody(weights=blob.digest, num_bytes=7), blobs=[blob])
    assert sent(hub, outbox) is None
    hub.stop()
    hub.store = open_store(tmp_path / "new.sqlite")
    hub.start_again()
    assert sent(hub, outbox) is None
    assert hub.records() == outbox.after(0, 100)


def test_blobs_come_before_the_record_that_names_them(hub: FeedHub) -> None:
    """A blob of three pieces arrives whole; without it, its record is not taken."""
    content = bytes(range(256)) * 10_000
    blob = Blob(content, "application/octet-stream")
    outbox = hub.outbox()
    outbox.add(UID, ModelBody(weights=blob.digest, num_bytes=len(content)), blobs=[blob])
    with Connection(read_credential(hub.file())) as connection:
        with pytest.raises(grpc.RpcError) as refused:
            connection.append(outbox.after(0, 1))
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert connection.missing([blob.digest]) == [blob.digest]
        Delivery(outbox, connection).bring()
        assert connection.missing([blob.digest]) == []
    with hub.store.begin() as connection:
        (kept,) = connection.execute(sa.select(BLOBS.c.content)).scalars()
    assert kept == content
    assert hub.incidents() == []


def test_a_blob_that_is_not_its_digest_is_not_kept(hub: FeedHub) -> None:
    """Altered on its way, cut short or longer than said: nothing is stored, and an incident tells of it."""
    good = Blob(b"a film" * 1000, "image/png")
    for content in (b"A film" * 1000, good.content[:-1], good.content + b"x"):
        bad = Blob(content, "image/png")
        with Connection(read_credential(hub.file())) as connection, pytest.MonkeyPatch.context() as patch:
            patch.setattr(Blob, "digest", good.digest)
            with pytest.raises(grpc.RpcError) as refused:
                connection.put(bad)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    with hub.store.begin() as connection:
        assert connection.execute(sa.select(BLOBS)).all() == []
    assert len(hub.incidents()) == 1
    assert hashlib.sha256(good.content).hexdigest()[:12] in hub.incidents()[0]


def test_a_blob_that_a_restored_store_lacks_is_sent_again(hub: FeedHub) -> None:
    """Also when its record is there: at the begin, all blobs are asked for."""
    blob = Blob(b"weights", "application/octet-stream")
    outbox = hub.outbox()
    outbox.add(UID, ModelBody(weights=blob.digest, num_bytes=7), blobs=[blob])
    assert sent(hub, outbox) is None
    with writing(hub.store).begin() as connection:
        connection.exec_driver_sql("DROP TRIGGER blobs_delete")
        connection.execute(sa.delete(BLOBS))
    assert sent(hub, outbox) is None
    with hub.store.begin() as connection:
        assert connection.execute(sa.select(BLOBS.c.digest)).scalars().all() == [blob.digest]


def test_the_sender_checks_the_hash_in_the_reply(hub: FeedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that answers with another hash than ours is not believed."""
    outbox = hub.outbox()
    outbox.add(UID, *events(3))
    monkeypatch.setattr(Connection, "append", lambda _, batch: Head(batch[-1].seq, GENESIS))
    with Connection(read_credential(hub.file())) as connection, pytest.raises(ChainConflictError):
        Delivery(outbox, connection).bring()


def test_a_clock_set_back_changes_no_order(hub: FeedHub) -> None:
    """Times that run backwards arrive as they are; rows stand in the order of the numbers."""
    outbox = hub.outbox()
    outbox.add(UID, *events(10))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.store.intake.outbox.link", set_back)
        outbox.add(UID, *events(10, first=11))
    outbox.add(UID, *events(10, first=21))
    assert sent(hub, outbox) is None
    records = hub.records()
    assert [record.seq for record in records] == [*range(1, 31)]
    assert records[10].time < records[0].time < records[20].time
    assert records == outbox.after(0, 100)


def set_back(*arguments: Any) -> Record:
    """Link a record as a clock would that an hour was taken from."""
    return link(*arguments, datetime.now(UTC) - timedelta(hours=1))


def test_a_batch_is_small_enough_for_a_message() -> None:
    """Large bodies are divided; one that is larger than a batch travels alone."""
    body = EventBody(event="tried", what="x" * (MAX_BATCH_BYTES // 3))
    large = EventBody(event="tried", what="x" * (2 * MAX_BATCH_BYTES))
    records = []
    for one in (body, body, body, large, body):
        records.append(link(records[-1].chain if records else GENESIS, len(records) + 1, UID, one))
    assert [[one.seq for one in part] for part in parts(records)] == [[1, 2], [3], [4], [5]]
