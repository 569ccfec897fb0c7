"""What the speed of a machine is measured by: made-up patients, a step of nobody, and one of a whole chunk."""

from typing import Any

import pytest
from pydantic import ValidationError

from client.dp_sgd.private_steps import private_steps
from client.rounds import speed
from client.rounds.speed import Speed, measured_speed
from tests.probe_app import Hospital

FIELDS = (
    "load_seconds", "account_seconds", "film_seconds", "views_seconds", "targets_seconds", "forward_seconds",
    "step_seconds", "chunk_seconds",
)  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_seconds_are_not_negative(field: str) -> None:
    """A part of the work may take no time at all, and never less."""
    nothing = Speed(**dict.fromkeys(FIELDS, 0.0))
    assert nothing.model_dump() == dict.fromkeys(FIELDS, 0.0)
    with pytest.raises(ValidationError, match=field):
        Speed.model_validate(nothing.model_dump() | {field: -0.001})


def test_a_step_of_nobody_and_one_of_a_chunk_are_timed(
    real: Hospital, tiny_federation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step each, everybody drawn, after one that warms up; the account is of all the study's steps."""
    taken: list[tuple[int, int, float]] = []
    accounted: list[tuple[int, float]] = []

    def steps(model: Any, names: Any, plan: Any, **given: Any) -> Any:
        taken.append((len(given["patient_ids"]), plan.steps, plan.sample_rate))
        return private_steps(model, names, plan, **given)

    def accounting(mechanisms: Any, delta: float) -> float:
        accounted.extend((one.steps, delta) for one in mechanisms)
        return 0.25

    monkeypatch.setattr(speed, "private_steps", steps)
    monkeypatch.setattr(speed, "fresh_seconds", accounting)
    study = tiny_federation.changed(federation={"rounds": 6, "steps": 4})
    found = measured_speed(real.site, study)
    chunk = real.site.config.compute.patients_per_chunk
    assert taken == [(1, 1, 1.0), (0, 1, 1.0), (chunk, 1, 1.0)]
    assert accounted == [(24, study.privacy.delta)]
    assert found.account_seconds == 0.25
    assert all(0 <= getattr(found, field) < 600 for field in FIELDS)
