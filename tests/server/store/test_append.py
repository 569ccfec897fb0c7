"""Records of a source stand in the store in order, each once, whoever sends them and how often."""

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from server.store.append import Head, append_batch, append_own, head_of
from server.store.blobs import Blob, put_blobs
from server.store.chain import GENESIS, Record, chain_hash, link
from server.store.rebuild import rebuild
from server.store.record_kinds import (
    Body,
    DecisionBody,
    EventBody,
    IncidentBody,
    ModelBody,
    PersonBody,
    StatusBody,
)
from server.store.schema import EVENTS, PROJECTED, RECORDS, SOURCES, STUDIES
from server.store.transactions import writing
from shared.errors import BlobMissingError, ChainConflictError, ChainGapError, StoreError
from tests.audit_records import SMALL_UID, fill, records_of, small_study

SOURCE = "run:small"
Count = Callable[[sa.Table], int]


def chained(*bodies: Body, uid: str = SMALL_UID, before: Head | None = None) -> list[Record]:
    """Return bodies as a chain."""
    head, found = before or Head(), []
    for body in bodies:
        found.append(link(head.chain, head.seq + 1, uid, body))
        head = Head(found[-1].seq, found[-1].chain)
    return found


def events(count: int) -> list[Record]:
    """Return a chain of small records."""
    return chained(*(EventBody(event="told", what=f"number {number}") for number in range(count)))


def test_the_same_batch_twice_is_the_same_as_once(store: sa.Engine, count: Count) -> None:
    """What is known is accepted silently, also where only a part of a batch is new."""
    batch = events(5)
    first = append_batch(store, SOURCE, batch[:3])
    assert first == Head(3, batch[2].chain)
    assert (
        append_batch(store, SOURCE, batch)
        == append_batch(store, SOURCE, batch[1:4])
        == Head(5, batch[4].chain)
    )
    assert (count(RECORDS), count(EVENTS)) == (5, 5)


def test_one_batch_and_many_leave_the_same_tables(store: sa.Engine) -> None:
    """How records are cut into batches shows in nothing but the time of arrival."""

    def rows() -> list[list[tuple[object, ...]]]:
        with store.connect() as connection:
            return [
                sorted(
                    map(tuple, connection.execute(sa.select(table))),
                    key=repr,
                )
                for table in PROJECTED
            ]

    fill(store, small_study(), batch=1)
    by_one = rows()
    with writing(store).begin() as connection:
        rebuild(connection)
    assert rows() == by_one


def test_a_gap_is_refused_and_nothing_of_its_batch_stays(store: sa.Engine, count: Count) -> None:
    """A batch that leaves a record out is refused whole, and says which one comes first."""
    batch = events(5)
    append_batch(store, SOURCE, batch[:1])
    with pytest.raises(ChainGapError, match=r"record 4 of run:small: record 3 comes first; send it"):
        append_batch(store, SOURCE, [batch[1], batch[3]])
    assert count(RECORDS) == 1


def test_a_changed_record_is_a_conflict(store: sa.Engine, count: Count) -> None:
    """Another record in a known place, or one whose hash is not that of its content, is refused."""
    batch = events(3)
    append_batch(store, SOURCE, batch[:2])
    other = chained(EventBody(event="told", what="something else"))
    with pytest.raises(ChainConflictError, match="record 1 of run:small: another one stands here already"):
        append_batch(store, SOURCE, other)
    forged = batch[2].model_copy(update={"body": batch[2].body.replace("number 2", "number 3")})
    with pytest.raises(
        ChainConflictError, match="record 3 of run:small: its hash is not that of its content"
    ):
        append_batch(store, SOURCE, [forged])
    assert count(RECORDS) == 2


def test_a_record_out_of_order_within_its_batch_is_refused(store: sa.Engine, count: Count) -> None:
    """A batch is in order; one that goes back is a gap, not a second chance."""
    batch = events(3)
    with pytest.raises(ChainGapError):
        append_batch(store, SOURCE, [batch[0], batch[1], batch[0]])
    assert count(RECORDS) == 0


def test_a_body_of_no_known_form_is_refused(store: sa.Engine, count: Count) -> None:
    """A record that this version cannot read is not kept, whatever its hash."""
    for body, kind in (('{"kind":"weather"}', "weather"), ('{"kind":"status","state":"odd"}', "status")):
        moment = datetime.now(UTC)
        chain = chain_hash(GENESIS, 1, SMALL_UID, kind, moment, body)
        record = Record(seq=1, study_uid=SMALL_UID, kind=kind, time=moment, body=body, chain=chain)
        with pytest.raises(StoreError, match="has no known form; hub and study must run one version"):
            append_batch(store, SOURCE, [record])
    assert count(RECORDS) == 0


def test_a_record_under_another_kind_is_refused(store: sa.Engine, count: Count) -> None:
    """A record is of the kind that its body says: evidence cannot hide under another name."""
    honest = chained(StatusBody(state="completed"))[0]
    chain = chain_hash(GENESIS, 1, honest.study_uid, "event", honest.time, honest.body)
    hidden = honest.model_copy(update={"kind": "event", "chain": chain})
    with pytest.raises(StoreError, match="has no known form"):
        append_batch(store, SOURCE, [hidden])
    assert count(RECORDS) == 0


@pytest.mark.parametrize(
    "body",
    [
        DecisionBody(person="eve", role="auditor", action="accept", reason="mine", evidence="0" * 64),
        PersonBody(person="eve", what="new account"),
        IncidentBody(source="people", what="never mind"),
    ],
    ids=lambda body: body.kind,
)
def test_only_the_hub_speaks_of_decisions_people_and_incidents(
    store: sa.Engine, count: Count, body: Body
) -> None:
    """A study process that sends a decision is refused: it would decide about itself."""
    with pytest.raises(StoreError, match=f"is a {body.kind}, which only the hub records"):  # type: ignore[attr-defined]
        append_batch(store, SOURCE, chained(body))
    assert count(RECORDS) == 0


def test_a_study_belongs_to_the_source_that_told_of_it_first(small_store: sa.Engine, count: Count) -> None:
    """Another source that speaks of the same study is refused; the hub's own may."""
    before = count(RECORDS)
    with pytest.raises(
        StoreError, match=f"record 1 of run:other: is of study {SMALL_UID}, which run:small has told"
    ):
        append_batch(small_store, "run:other", chained(StatusBody(state="failed", why="not so")))
    assert count(RECORDS) == before
    with writing(small_store).begin() as connection:
        append_own(connection, "people", SMALL_UID, decision("hold"))
    with small_store.connect() as connection:
        assert connection.execute(sa.select(STUDIES.c.decision)).scalar_one() == "held"


def test_a_record_waits_for_the_blobs_that_it_names(store: sa.Engine, count: Count) -> None:
    """A record whose weights are not here is refused, and taken once they are."""
    weights = Blob(b"weights", "application/octet-stream")
    batch = chained(ModelBody(weights=weights.digest, num_bytes=7))
    with pytest.raises(
        BlobMissingError, match=f"names blob {weights.digest[:12]}, which is not here; send it first"
    ):
        append_batch(store, SOURCE, batch)
    assert count(RECORDS) == 0
    with writing(store).begin() as connection:
        put_blobs(connection, [weights])
    assert append_batch(store, SOURCE, batch).seq == 1


def test_own_words_go_with_the_transaction_that_they_are_about(store: sa.Engine, count: Count) -> None:
    """Where the transaction of a decision fails, the decision was never made."""

    def decided_in_vain() -> None:
        with writing(store).begin() as connection:
            append_own(connection, "people", SMALL_UID, decision("accept"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        decided_in_vain()
    assert (count(RECORDS), count(SOURCES)) == (0, 0)


def test_times_come_back_as_the_instants_they_were(store: sa.Engine) -> None:
    """A record written in another zone keeps its instant and its hash, on both databases."""
    moment = datetime(2026, 3, 29, 2, 30, 0, 1, tzinfo=timezone(timedelta(hours=2)))
    record = link(GENESIS, 1, SMALL_UID, EventBody(event="told"), moment)
    append_batch(store, SOURCE, [record])
    with store.connect() as connection:
        row = connection.execute(sa.select(RECORDS.c.time, RECORDS.c.chain)).one()
    assert row.time == moment
    assert row.time.utcoffset() == timedelta(0)
    assert link(GENESIS, 1, SMALL_UID, EventBody(event="told"), row.time).chain == row.chain


def test_text_that_a_database_would_not_keep_is_replaced_at_its_source(store: sa.Engine) -> None:
    """NUL and halves of surrogate pairs, which a failure's text may hold, arrive as replacement characters."""
    said = "a\x00b\ud800c \\u0000 ☢"
    append_batch(store, SOURCE, chained(EventBody(event="told", what=said)))
    with store.connect() as connection:
        what = connection.execute(sa.select(EVENTS.c.what)).scalar_one()
    assert what.replace("\ufffd", "") == "abc \\u0000 ☢"


def test_two_writers_of_a_first_record_end_in_one_chain(store: sa.Engine, count: Count) -> None:
    """Where a source has no row that could be locked, the same first batch at once is written once."""
    batch = events(20)
    heads, failed = at_once(4, lambda _: append_batch(store, SOURCE, batch))
    assert failed == []
    assert set(heads) == {Head(20, batch[-1].chain)}
    assert count(RECORDS) == 20


def test_two_that_tell_different_first_records_end_in_one_winner(store: sa.Engine, count: Count) -> None:
    """One of two different first records stands; the other writer gets a conflict, and no error of the database."""
    first = [chained(EventBody(event="told", what=f"writer {number}")) for number in range(4)]
    heads, failed = at_once(4, lambda number: append_batch(store, SOURCE, first[number]))
    assert len(heads) == 1
    assert [type(one) for one in failed] == [ChainConflictError] * 3
    assert count(RECORDS) == 1


def test_own_words_of_many_writers_all_stand_in_one_chain(store: sa.Engine) -> None:
    """People who act at the same moment follow each other in the chain, without a gap."""

    def act(number: int) -> Head:
        for _ in range(5):
            with writing(store).begin() as connection:
                append_own(connection, "people", "", PersonBody(person=f"person {number}", what="login"))
        with store.connect() as connection:
            return head_of(connection, "people")

    _, failed = at_once(4, act)
    assert failed == []
    with store.connect() as connection:
        rows = connection.execute(sa.select(RECORDS.c.seq, RECORDS.c.id).order_by(RECORDS.c.id)).all()
    assert [tuple(row) for row in rows] == [(number, number) for number in range(1, 21)]


def test_reading_sees_one_state_and_writes_nothing(small_store: sa.Engine) -> None:
    """A page's statements agree with each other while records arrive, and a page that would write cannot."""
    with small_store.connect() as reader:
        before = reader.execute(sa.select(sa.func.count()).select_from(EVENTS)).scalar_one()
        with writing(small_store).begin() as connection:
            append_own(connection, "people", SMALL_UID, decision("hold"))
        assert reader.execute(sa.select(sa.func.count()).select_from(EVENTS)).scalar_one() == before
        with pytest.raises(sa.exc.DBAPIError, match=r"read-?only"):
            reader.execute(sa.delete(STUDIES))
    with small_store.connect() as reader:
        assert reader.execute(sa.select(sa.func.count()).select_from(EVENTS)).scalar_one() == before + 1


def test_batches_of_a_chain_may_come_in_any_cut(store: sa.Engine) -> None:
    """The head grows with each batch, and the store's numbers have no gap."""
    records = [record for record, blobs in records_of(small_study()) if not record.read().named_blobs]
    plain = chained(*(record.read() for record in records))
    for start in range(0, len(plain), 7):
        append_batch(store, SOURCE, plain[start : start + 7])
    with store.connect() as connection:
        numbers = connection.execute(sa.select(RECORDS.c.id).order_by(RECORDS.c.id)).scalars().all()
    assert numbers == list(range(1, len(plain) + 1))


def decision(action: str) -> DecisionBody:
    """Return what a person decided."""
    return DecisionBody.model_validate(
        {"person": "ada", "role": "auditor", "action": action, "reason": "seen it", "evidence": "0" * 64}
    )


def at_once(number: int, act: Callable[[int], Head]) -> tuple[Sequence[Head], Sequence[Exception]]:
    """Act in several threads at the same moment; returns what came of it, and what failed."""
    barrier = threading.Barrier(number)
    done: list[Head] = []
    failed: list[Exception] = []

    def one(which: int) -> None:
        barrier.wait()
        try:
            done.append(act(which))
        except Exception as error:  # noqa: BLE001 - any failure is told
            failed.append(error)

    threads = [threading.Thread(target=one, args=(which,)) for which in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return done, failed
