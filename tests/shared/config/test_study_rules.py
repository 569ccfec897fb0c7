"""Fields that are right each by itself are refused where together no round could ever close."""

import pytest

from shared.config.federation import Federation
from shared.config.files import parse_study
from shared.config.study_rules import sites_needed
from shared.errors import ConfigError
from tests.conftest import STUDY


def study(**federation: float) -> None:
    parse_study(STUDY | {"federation": STUDY["federation"] | federation})


@pytest.mark.parametrize(
    ("field", "seconds", "reply", "works"),
    [
        ("deadline_seconds", 10, 14, False),
        ("deadline_seconds", 10, 10, False),
        ("deadline_seconds", 10, 9.5, True),
        ("enrolment_seconds", 20, 20, False),
        ("enrolment_seconds", 20, 19, True),
    ],
)
def test_answers_leave_before_the_deadline(field: str, seconds: float, reply: float, works: bool) -> None:
    """A time of answering at or after a deadline is refused, with both fields and both values."""
    given = {field: seconds, "reply_after_seconds": reply}
    if works:
        study(**given)
        return
    with pytest.raises(ConfigError, match=rf"reply_after_seconds is {reply:g}, .*{field} \({seconds:g}\)"):
        study(**given)


@pytest.mark.parametrize(("quorum", "min_sites", "needed"), [(5, 3, 5), (2, 3, 3), (3, 3, 3)])
def test_as_many_sites_enrol_as_a_round_needs(quorum: int, min_sites: int, needed: int) -> None:
    """The larger of quorum and min_sites must enrol, and the field that says so is named."""
    field, number = sites_needed(Federation(quorum=quorum, min_sites=min_sites))
    assert number == needed
    assert field == ("federation.quorum" if quorum > min_sites else "federation.min_sites")
