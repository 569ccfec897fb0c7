"""The digest of a study's evidence changes with any evidence, and with nothing else."""

import hashlib

import pytest
import sqlalchemy as sa

from server.store.append import append_batch, append_own, head_of
from server.store.chain import GENESIS, link
from server.store.evidence import evidence_digest
from server.store.record_kinds import EVIDENCE, Body, DecisionBody, DocumentBody, EventBody
from server.store.transactions import writing
from shared.errors import StoreError
from tests.audit_records import SMALL_UID, fill, records_of, running_study, small_study


def digest(store: sa.Engine) -> str:
    """Return the digest of the small study's evidence."""
    with store.connect() as connection:
        return evidence_digest(connection, SMALL_UID)


def say(store: sa.Engine, body: Body) -> None:
    """Let the study say one thing more."""
    with store.connect() as connection:
        head = head_of(connection, "run:small")
    append_batch(store, "run:small", [link(head.chain, head.seq + 1, SMALL_UID, body)])


def test_it_is_made_of_the_hashes_of_evidence_in_order(small_store: sa.Engine) -> None:
    """Anybody who has the chain can compute the digest."""
    expected = GENESIS
    for record, _ in records_of(small_study()):
        if record.kind in EVIDENCE:
            expected = hashlib.sha256(f"{expected}{record.chain}".encode()).hexdigest()
    assert digest(small_store) == expected


def test_more_evidence_is_another_digest(small_store: sa.Engine) -> None:
    """A document more, even an equal one, is other evidence than what was decided on."""
    before = digest(small_store)
    say(small_store, DocumentBody(name="audit", document={}))
    once = digest(small_store)
    say(small_store, DocumentBody(name="audit", document={}))
    assert len({before, once, digest(small_store)}) == 3


def test_what_is_no_evidence_leaves_it(small_store: sa.Engine) -> None:
    """A decision, or an event, does not undo what it is bound to."""
    before = digest(small_store)
    say(small_store, EventBody(event="told"))
    body = DecisionBody(person="ada", role="auditor", action="hold", reason="look again", evidence=before)
    with writing(small_store).begin() as connection:
        append_own(connection, "people", SMALL_UID, body)
        assert evidence_digest(connection, SMALL_UID) == before
    assert digest(small_store) == before


def test_stores_filled_in_other_ways_agree(store: sa.Engine) -> None:
    """A study that came record by record has the digest of one that came at once."""
    fill(store, running_study(2), batch=1)
    some = digest(store)
    chain = [record for record, _ in records_of(running_study(2)) if record.kind in EVIDENCE]
    expected = GENESIS
    for record in chain:
        expected = hashlib.sha256(f"{expected}{record.chain}".encode()).hexdigest()
    assert some == expected


def test_a_study_that_is_not_here_has_none(store: sa.Engine) -> None:
    """No study, no digest."""
    with pytest.raises(StoreError, match="is not in the store"):
        digest(store)
