"""What `rounds-site check` says of what can be learnt."""

import pytest

from client.readiness.finding import Finding
from client.readiness.learning_check import learning_findings
from shared.config.files import overridden, parse_study
from shared.config.study import StudyConfig


def study_of(**changes: object) -> StudyConfig:
    """Return a study of four sites that trains a readout."""
    raw: dict[str, object] = {
        "name": "learning", "purpose": "test", "ethics_reference": "none", "expires": "2100-01-01",
        "task": {"classes": ["normal", "opacity"], "image_size": 64},
        "models": {"readout": {"stage": 3, "grid": 4}},
        "privacy": {"trainable": "readout", "sample_rate": 1.0, "max_grad_norm": 1.4, "noise_multiplier": 1.2},
        "federation": {"steps": 1, "learning_rate": 1.0, "merge": "filter", "min_sites": 4},
    }  # fmt: skip
    return parse_study(overridden(raw, changes))


def only(found: list[Finding]) -> Finding:
    """Return the one finding that there is."""
    (one,) = found
    return one


def test_enough_patients_are_said_to_be_enough() -> None:
    """A share, for sites of this size."""
    found = only(list(learning_findings(study_of(), 1000)))
    assert found.mark == "ok"
    assert found.sentence.startswith("of 4 sites of 1,000 declared patients a readout can settle 2")


@pytest.mark.parametrize(
    ("changes", "patients"),
    [
        ({"privacy.noise_multiplier": 12.0}, 20),
        ({"privacy.trainable": "scales", "federation.merge": "mean"}, 50),
    ],
)
def test_a_hopeless_study_is_warned_of(changes: dict[str, object], patients: int) -> None:
    """With what would help; the site may take part all the same."""
    found = only(list(learning_findings(study_of(**changes), patients)))
    assert found.mark == "warn"
    assert "ask the hub for more sites, a larger epsilon or a smaller set" in found.sentence


def test_without_noise_there_is_nothing_to_say() -> None:
    """Neither with privacy off nor before the noise is known."""
    assert not list(learning_findings(study_of(**{"privacy.enabled": False}), 10))
    assert not list(learning_findings(study_of(**{"privacy.noise_multiplier": None}), 10))
