"""The search for weights that break the clip finds none, and finds them where the clip is broken."""

import pytest

from client.dp_sgd import patient_gradients as gradients
from tests.privacy.search import worst_ratios


def test_no_weights_are_found_that_break_the_clip() -> None:
    """Two tries at least for each method and one and two views; `make privacy-check` searches for longer."""
    (row,) = worst_ratios(1.0, ("scales",))
    assert row["holds"], row


def test_a_clip_from_a_norm_that_is_too_short_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With norms taken as half of what they are, the search names a ratio of about 2."""
    monkeypatch.setattr(gradients, "ROUNDING", -0.5)
    (row,) = worst_ratios(1.0, ("scales",))
    assert not row["holds"], row
    assert 1.9 < float(row["seen"].split(" ")[0]) <= 2.0, row
