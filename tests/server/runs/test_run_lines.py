from pathlib import Path

import pytest
from pydantic import ValidationError

from server.runs.run_folder import RunFolder
from server.runs.run_lines import event_line, read_events, read_rounds


def test_what_is_recorded_is_read(tmp_path: Path) -> None:
    """A round with all that the rounds write, and an event with a field that nobody reads."""
    folder = RunFolder(tmp_path)
    folder.record_round(
        {"round": 2, "answered": ["a"], "missing": {"b": "late"}, "bytes": {"a": 7}, "epsilon": {"a": None},
         "rounding": {"a": 0.5}, "seconds": 1.5, "asked_again": ["a"],
         "test": {"auc": {"value": 0.5, "low": None, "high": None, "n": 3, "reason": ""}, "mask_area": 0.25}}
    )  # fmt: skip
    folder.record_event("answered", round=2, site="a", outcome="budget_spent", epsilon=1.0)
    (line,) = read_rounds(folder)
    assert (line.round, line.answered, line.missing, line.num_bytes) == (2, ("a",), {"b": "late"}, {"a": 7})
    assert (line.epsilon, line.rounding, line.seconds, line.asked_again) == (
        {"a": None},
        {"a": 0.5},
        1.5,
        ("a",),
    )
    assert line.test.auc is not None
    assert (line.test.auc.value, line.test.auc.n, line.test.mask_area) == (0.5, 3, 0.25)
    (event,) = read_events(folder)
    assert (event.event, event.round, event.site, event.outcome) == ("answered", 2, "a", "budget_spent")
    assert event.time


def test_an_old_line_has_defaults_and_one_without_its_event_is_refused() -> None:
    """What was not written then is empty; a line that says nothing is a mistake."""
    assert event_line({"event": "deadline"}).outcome == "accepted"
    with pytest.raises(ValidationError, match="event"):
        event_line({"time": "2026-01-01"})
