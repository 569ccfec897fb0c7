"""Each request is answered once, whatever is asked again."""

from pathlib import Path

import pytest

from shared.errors import ErrorCode, Refusal
from shared.privacy.mechanisms import Declared
from tests.client.ledger.made_ledgers import BASE, CAP, FREE, OTHER_BASE, code_of, key, opened


def test_repeated_request_gets_the_stored_bytes(tmp_path: Path) -> None:
    """Same key and base: the same bytes again, also after reopening, and nothing more is spent."""
    with opened(tmp_path) as ledger:
        first = ledger.reserve(key(1), BASE, FREE, "train", CAP)
        assert first.stored is None
        ledger.commit(first, b"noisy update")
    with opened(tmp_path) as ledger:
        again = ledger.reserve(key(1), BASE, FREE, "train", CAP)
        assert again.stored == b"noisy update"
        assert ledger.mechanisms("train") == [FREE]
        assert ledger.verify() == 2


def test_unanswered_request_keeps_its_row(tmp_path: Path) -> None:
    """A reservation without bytes may be computed again under the same row: nothing of it left."""
    with opened(tmp_path) as ledger:
        first = ledger.reserve(key(1), BASE, FREE, "train", CAP)
    with opened(tmp_path) as ledger:
        assert ledger.reserve(key(1), BASE, FREE, "train", CAP) == first
        assert ledger.mechanisms("train") == [FREE]


@pytest.mark.parametrize(
    ("base", "mechanism", "partition"),
    [
        (OTHER_BASE, FREE, "train"),
        (BASE, Declared(epsilon=0.1, delta=0), "train"),
        (BASE, None, "train"),
        (BASE, FREE, "evaluation"),
    ],
)
@pytest.mark.parametrize("answered", [False, True])
def test_changed_request_is_a_conflict(
    tmp_path: Path, base: str, mechanism: Declared | None, partition: str, *, answered: bool
) -> None:
    """Same key with another base, mechanism or partition is refused, before and after the answer."""
    with opened(tmp_path) as ledger:
        reservation = ledger.reserve(key(1), BASE, FREE, "train", CAP)
        if answered:
            ledger.commit(reservation, b"reply")
        with pytest.raises(Refusal) as refused:
            ledger.reserve(key(1), base, mechanism, partition, CAP)
        assert code_of(refused) == ErrorCode.LEDGER_CONFLICT


def test_second_answer_must_not_leave(tmp_path: Path) -> None:
    """Where two processes computed the same request, the second one's bytes are refused."""
    with opened(tmp_path) as first, opened(tmp_path) as second:
        reservations = [ledger.reserve(key(1), BASE, FREE, "train", CAP) for ledger in (first, second)]
        second.commit(reservations[1], b"second")
        with pytest.raises(Refusal) as refused:
            first.commit(reservations[0], b"first")
        assert code_of(refused) == ErrorCode.LEDGER_CONFLICT
        assert first.reserve(key(1), BASE, FREE, "train", CAP).stored == b"second"
