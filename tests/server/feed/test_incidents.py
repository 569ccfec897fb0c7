"""What does not arrive as it should: refused, on record as an incident, and shown on the page."""

import logging
import shutil
from html import unescape

import grpc
import pytest
import sqlalchemy as sa

from server.feed.connection import Connection
from server.feed.credential import read_credential
from server.feed.delivery import Delivery
from server.feed.sender import Sender
from server.store.chain import GENESIS, Record, chain_hash, link
from server.store.database import writing
from server.store.intake.outbox import Outbox
from server.store.record_kinds import EventBody, IncidentBody
from server.store.schema import RECORDS
from shared.errors import ChainConflictError
from tests.audit_records import running_study
from tests.dashboard_site import reader
from tests.feed_hub import RUN, UID, FeedHub, events

SOURCE = f"study/{RUN}"


def refused(hub: FeedHub, *batch: Record) -> grpc.StatusCode:
    """Send a batch that is not taken; returns the code."""
    with Connection(read_credential(hub.file())) as connection, pytest.raises(grpc.RpcError) as error:
        connection.append(batch)
    return error.value.code()


def filled(hub: FeedHub, number: int = 5) -> Outbox:
    outbox = hub.outbox()
    outbox.add(UID, *events(number))
    with Connection(read_credential(hub.file())) as connection:
        Delivery(outbox, connection).bring()
    return outbox


def test_a_changed_record_is_data_loss_and_an_incident(hub: FeedHub) -> None:
    """What stands at the hub stays; the study's page tells which record, once however often it is tried."""
    outbox = filled(hub)
    third = outbox.after(2, 1)[0]
    before = outbox.after(1, 1)[0].chain
    changed = link(before, 3, UID, EventBody(event="tried", what="forged"))
    for _ in range(3):
        assert refused(hub, changed) == grpc.StatusCode.DATA_LOSS
    assert hub.records()[2] == third
    assert hub.incidents() == [f"{SOURCE}: record 3: another one stands here already"]
    with hub.store.begin() as connection:
        query = sa.select(RECORDS.c.study_uid).where(RECORDS.c.source == "feed")
        assert connection.execute(query).scalars().all() == [UID]


def test_a_changed_record_stands_on_the_studys_page(hub: FeedHub) -> None:
    """Who reads the study's events sees an incident that names the record; before there was none."""
    study = hub.outbox()
    study.add(UID, *(body for body, _ in running_study(1)[:3]))
    with Connection(read_credential(hub.file())) as connection:
        Delivery(study, connection).bring()
    with reader(hub.store) as client:
        page = f"/studies/{UID}/events?kind=incident"
        before = client.get(page)
        changed = link(study.after(1, 1)[0].chain, 3, UID, EventBody(event="tried", what="forged"))
        assert refused(hub, changed) == grpc.StatusCode.DATA_LOSS
        after = client.get(page)
    assert (before.status_code, after.status_code) == (200, 200)
    assert "another one stands here already" not in before.text
    assert f"{SOURCE}: record 3: another one stands here already" in unescape(after.text)
    assert "forged" not in after.text


def test_a_hash_that_is_not_of_its_content_is_data_loss(hub: FeedHub) -> None:
    """A body altered under way does not pass."""
    outbox = filled(hub)
    good = link(outbox.head().chain, 6, UID, EventBody(event="tried", what="good"))
    altered = good.model_copy(update={"body": good.body.replace("good", "evil")})
    assert refused(hub, altered) == grpc.StatusCode.DATA_LOSS
    assert hub.incidents() == [f"{SOURCE}: record 6: its hash is not that of its content"]


def test_a_gap_is_a_failed_precondition(hub: FeedHub) -> None:
    """A record without the one before it is not taken, and the one that is missing is named."""
    outbox = filled(hub)
    outbox.add(UID, *events(2, first=6))
    assert refused(hub, *outbox.after(6, 1)) == grpc.StatusCode.FAILED_PRECONDITION
    assert hub.incidents() == [f"{SOURCE}: record 7: record 6 comes first; send it"]


def test_a_batch_is_taken_whole_or_not_at_all(hub: FeedHub) -> None:
    """A bad record at its end takes the good ones before it back."""
    outbox = hub.outbox()
    outbox.add(UID, *events(3))
    good = outbox.after(0, 2)
    bad = link(good[-1].chain, 3, UID, EventBody(event="tried")).model_copy(update={"chain": "f" * 64})
    assert refused(hub, *good, bad) == grpc.StatusCode.DATA_LOSS
    assert hub.records() == []


def test_a_body_of_no_known_form_is_an_invalid_argument(hub: FeedHub) -> None:
    """An unknown kind of record, with a hash that is right, is told to be of another version."""
    known = link(GENESIS, 1, UID, EventBody(event="tried"))
    body = known.body.replace('"kind":"event"', '"kind":"rumour"')
    chain = chain_hash(GENESIS, 1, UID, "rumour", known.time, body)
    unknown = known.model_copy(update={"kind": "rumour", "body": body, "chain": chain})
    assert refused(hub, unknown) == grpc.StatusCode.INVALID_ARGUMENT
    assert "hub and study must run one version" in hub.incidents()[0]


def test_an_outbox_put_back_from_an_older_copy_is_found_out(hub: FeedHub) -> None:
    """It goes on with other records than the hub has: the hub keeps its own, and both sides say so."""
    outbox = filled(hub, 2)
    older = hub.runs / "older"
    older.mkdir()
    shutil.copy(outbox.path, older)
    outbox.add(UID, *events(3, first=3))
    with Connection(read_credential(hub.file())) as connection:
        Delivery(outbox, connection).bring()
    Outbox(older).add(UID, *events(1, first=90))
    sender = Sender(older, hub.file())
    failure = sender.attempt()
    sender.close()
    assert failure is not None
    assert failure.lasting
    assert "record 3: another one stands here already (DATA_LOSS)" in failure.sentence
    assert hub.incidents() == [f"{SOURCE}: record 3: another one stands here already"]
    assert hub.records() == outbox.after(0, 10)


def test_an_outbox_that_only_lost_its_end_says_so(hub: FeedHub) -> None:
    """Nothing differs yet, so the hub has nothing to refuse; the sender does not call it sent."""
    outbox = filled(hub)
    records = outbox.after(0, 5)
    with Connection(read_credential(hub.file())) as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outbox, "after", lambda _, seq, limit: records[:3][seq : seq + limit])
        with pytest.raises(ChainConflictError, match="this outbox, which ends with record 3"):
            Delivery(outbox, connection).bring()
    assert hub.incidents() == []


def test_no_text_of_an_exception_crosses(hub: FeedHub, caplog: pytest.LogCaptureFixture) -> None:
    """A store that cannot be written is UNAVAILABLE to the sender; why stands in the hub's own log, in one line."""
    outbox = hub.outbox()
    outbox.add(UID, *events(1))
    with writing(hub.store).begin() as connection:
        connection.exec_driver_sql("DROP TABLE events")
    with (
        caplog.at_level(logging.ERROR, "rounds.feed"),
        Connection(read_credential(hub.file())) as connection,
        pytest.raises(grpc.RpcError) as error,
    ):
        connection.append(outbox.after(0, 1))
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert "table" not in str(error.value.details())
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    assert "no such table: events" in caplog.text


def test_no_text_of_an_unforeseen_error_crosses(
    hub: FeedHub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else fails is INTERNAL, with a sentence of ours."""

    def fail(*_: object) -> None:
        raise RuntimeError("/hub/secrets/superexec.secret")

    monkeypatch.setattr("server.feed.receiver.append_batch", fail)
    outbox = hub.outbox()
    outbox.add(UID, *events(1))
    with Connection(read_credential(hub.file())) as connection, pytest.raises(grpc.RpcError) as error:
        connection.append(outbox.after(0, 1))
    assert error.value.code() == grpc.StatusCode.INTERNAL
    assert error.value.details() == "the hub failed; its log says why"
    assert "superexec.secret" in caplog.text


def test_only_the_hub_reports_incidents(hub: FeedHub) -> None:
    """A sender cannot put a decision of a person, or an incident, on record."""
    outbox = hub.outbox()
    outbox.add(UID, IncidentBody(source="study/other", what="made up"))
    assert refused(hub, *outbox.after(0, 1)) == grpc.StatusCode.INVALID_ARGUMENT
    assert hub.records() == []
    assert hub.incidents() == [f"{SOURCE}: record 1: is a incident, which only the hub records; leave it out"]
