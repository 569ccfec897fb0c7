"""Every code has its meaning, and every silence that the hub's records know."""

import pytest

from server.rounds.exchange import Answer
from shared.errors import ErrorCode
from shared.messages.refusal_meanings import MEANINGS, SILENCES, code_of, meaning_of, refusal_sentence


def test_every_code_has_a_meaning() -> None:
    """A new code without words is a mistake of ours; clauses have no full stop, sentences are made of them."""
    assert set(MEANINGS) == set(ErrorCode)
    for meaning in (*MEANINGS.values(), *SILENCES.values()):
        assert not meaning.what.endswith(".")
        assert not meaning.remedy.endswith(".")


@pytest.mark.parametrize("answer", [Answer(1, None), Answer(1, None, code_refused=True)])
def test_a_nodes_failure_has_one(answer: Answer) -> None:
    """The words of the exchange are those of the table."""
    assert answer.failure in SILENCES


def test_a_sentence_names_code_meaning_and_remedy() -> None:
    """A code is repeated, for the table in the docs is found by it; another sentence stays as it is."""
    assert refusal_sentence("study_expired").startswith("study_expired: the study's day of expiry has passed")
    assert "`expires`" in refusal_sentence("study_expired")
    assert refusal_sentence("update norm is 3, allowed is at most 2; discarded").startswith(
        "update norm is 3"
    )
    assert (code_of("nonsense"), meaning_of("nonsense")) == (None, None)
