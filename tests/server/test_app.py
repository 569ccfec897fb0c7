"""What the ServerApp starts with: the prepared study under a person's overrides, or one sentence."""

from pathlib import Path
from typing import Any

import pytest

from server.evaluation.run_records import About, recorded_summary
from server.report.sentences import headline
from server.runs.run_folder import RunFolder
from server.studies.resolved_study import asked_study
from shared.errors import ConfigError
from shared.privacy.accountant import spend
from shared.privacy.mechanisms import PoissonGaussian


def test_noise_is_calibrated_to_the_epsilon_asked_for(tiny_federation: Any) -> None:
    """Without a multiplier the study gets one, and all its steps together stay within epsilon."""
    overrides = {"privacy.epsilon": 2.0, "privacy.noise_multiplier": None}
    study = asked_study(tiny_federation.workspace / "study.yaml", overrides)
    sigma = study.privacy.noise_multiplier
    assert sigma is not None
    steps = study.federation.rounds * study.federation.steps
    rounds = PoissonGaussian(noise_multiplier=sigma, sample_rate=study.privacy.sample_rate, steps=steps)
    assert 1.9 < spend([rounds], study.privacy.delta).epsilon <= 2.0


def test_a_given_multiplier_must_keep_the_epsilon_that_is_stated(tiny_federation: Any) -> None:
    """A study that says epsilon 0.5 beside noise that spends more is refused, not run and not reported so."""
    with pytest.raises(
        ConfigError, match=r"noise_multiplier is 1: 4 steps would spend epsilon 6\.\d+, .*\(0\.5\)"
    ):
        asked_study(tiny_federation.workspace / "study.yaml", {"privacy.epsilon": 0.5})


def test_a_failed_run_says_why(tiny_federation: Any, tmp_path: Path) -> None:
    """What ended the study is the reason in the summary and the report's first sentence."""
    folder = RunFolder(tmp_path)
    why = "federation.quorum is 2: 1 of 3 sites sent an update in round 1"
    folder.record_event("study_failed", why=why)
    about = About("made", "tiny")
    failed = recorded_summary(folder, tiny_federation.study, None, about, completed=False)
    assert failed.reasons == (why,)
    assert headline(failed) == f"The run failed: {why}."
