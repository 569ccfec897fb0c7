"""What `rounds-site check` says of what can be learnt."""

import pytest

from client.readiness.finding import Finding
from client.readiness.learning_check import learning_findings
from tests.readout_study import readout_study


def only(found: list[Finding]) -> Finding:
    """Return the one finding that there is."""
    (one,) = found
    return one


def test_enough_patients_are_said_to_be_enough() -> None:
    """A share, for sites of this size."""
    found = only(list(learning_findings(readout_study(**{"models.readout.grid": 4}), 1000)))
    assert found.mark == "ok"
    assert found.sentence.startswith("of 4 sites of 1,000 declared patients a readout can settle 27.0%")


@pytest.mark.parametrize(
    ("changes", "patients"),
    [
        ({"privacy.noise_multiplier": 12.0}, 20),
        ({"privacy.trainable": "scales", "federation.merge": "mean"}, 50),
    ],
)
def test_a_hopeless_study_is_warned_of(changes: dict[str, object], patients: int) -> None:
    """With what would help; the site may take part all the same."""
    found = only(list(learning_findings(readout_study(**changes), patients)))
    assert found.mark == "warn"
    assert "ask the hub for more sites, a larger epsilon or a smaller set" in found.sentence


def test_without_noise_there_is_nothing_to_say() -> None:
    """Neither with privacy off nor before the noise is known."""
    assert not list(learning_findings(readout_study(**{"privacy.enabled": False}), 10))
    assert not list(learning_findings(readout_study(**{"privacy.noise_multiplier": None}), 10))
