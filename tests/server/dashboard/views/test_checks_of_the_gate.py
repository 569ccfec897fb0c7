"""A check says by itself on which side of its limit a value must lie: the page goes by that, not by its name."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from server.audit.gate import judge
from server.dashboard.views.model import checks_of
from server.metrics.gate_result import Check
from server.metrics.intervals import Interval
from server.presentation.limit_bar import limit_bar
from server.store.migrations import HEAD
from server.store.record_kinds import GateBody
from tests.audit_records import SMALL_UID, Entry, small_study
from tests.server.audit.test_gate import AUC, audit_of, study


def with_check(check: Check) -> list[Entry]:
    """Return the small study, whose gate has one check more."""
    return [
        (body.model_copy(update={"checks": (*body.checks, check)}), blobs)
        if isinstance(body, GateBody)
        else (body, blobs)
        for body, blobs in small_study()
    ]


@pytest.mark.parametrize(
    ("side", "limit"), [("most", "at most 0.2"), ("least", "at least 0.2"), (None, "0.2")]
)
def test_a_new_limit_is_shown_as_the_gate_meant_it(
    filled: Callable[[list[Entry]], sa.Engine], side: str | None, limit: str
) -> None:
    """An upper limit of a check that no page knows shows as one, in words and as a picture."""
    leak = Check.model_validate(
        {
            "name": "leak",
            "value": 0.1,
            "threshold": 0.2,
            "passed": True,
            "sentence": "It is small.",
            "side": side,
        }
    )
    with filled(with_check(leak)).connect() as connection:
        (line,) = [one for one in checks_of(connection, SMALL_UID) if one.name == "leak"]
    assert line.limit == limit
    assert (line.bar is None) == (side is None)
    assert side is None or f"allowed is at {side} 0.2" in str(line.bar)


def test_the_picture_of_a_limit_has_its_side() -> None:
    """The allowed band lies left of a most, right of a least."""
    low, high = (str(limit_bar("x", 0.5, 0.7, side)) for side in ("most", "least"))
    assert 'x="6.0"' in low.split('class="allowed"')[1][:40]
    assert 'x="6.0"' not in high.split('class="allowed"')[1][:40]


@pytest.mark.parametrize("measured", [True, False])
def test_a_check_of_the_gate_with_a_limit_says_its_side(measured: bool) -> None:
    """Measured or not, each check with a limit says on which side of it a value has to lie, and no other does."""
    audit = audit_of() if measured else audit_of(mask_area=None, lift_ratio=Interval(value=None))
    checks = judge(audit, AUC if measured else Interval(value=None), study(), {}).checks
    assert {one.name: one.side for one in checks} == {
        "finite numbers": None, "test AUC": "least", "energy in the region": "least", "mask area": "most",
        "privacy label": None,
    }  # fmt: skip
    assert [one.name for one in checks if (one.threshold is None) != (one.side is None)] == []


def test_a_store_of_before_gets_the_column(filled: Callable[[list[Entry]], sa.Engine]) -> None:
    """The second revision is in force."""
    with filled(small_study()).connect() as connection:
        assert "side" in {one["name"] for one in sa.inspect(connection).get_columns("checks")}
    assert HEAD == "0002"
