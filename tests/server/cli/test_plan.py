"""`rounds-hub plan`: arithmetic by hand, the words for each case, and what it advises."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from server.cli.studies.plan import app
from shared.errors import ConfigError

STUDY = """
name: planned
purpose: test
ethics_reference: none
expires: 2100-01-01
task: {classes: [normal, opacity], image_size: 64}
models: {readout: {stage: 3, grid: 4}}
privacy: {sample_rate: 1.0, max_grad_norm: 1.414, trainable: readout, noise_multiplier: 1.25, epsilon: 8.0}
federation: {rounds: 4, steps: 1, learning_rate: 1.0, merge: filter, min_sites: 4}
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Write the study."""
    file = tmp_path / "study.yaml"
    file.write_text(STUDY, encoding="utf-8")
    return file


def planned(study: Path, *words: str) -> dict[str, Any]:
    """Return what `plan --json` says."""
    result = CliRunner().invoke(app, [str(study), *words, "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def test_the_figures_are_those_of_the_formulas(study: Path) -> None:
    """Effective noise, break-even and signal to noise, worked out by hand for four sites of 1,000."""
    found = planned(study, "--patients", "1000")
    now = found["rows"]["this study"]
    assert now["noise"] == pytest.approx(1.25 / math.sqrt(4))
    assert now["num_trained"] == 2 * (96 * 16 + 1)
    assert now["break_even"] == pytest.approx(1000 * (0.35 / 0.625) ** 2)
    assert now["signal_to_noise"] == pytest.approx(0.27 * 4000 / (0.625 * 2 * math.sqrt(3074)))
    assert found["bytes_a_round"] == {"to_site": 12296, "from_site": 12296}


def test_more_patients_learn_more_and_one_noise_hides_less(study: Path) -> None:
    """Shares rise with patients, sites and pooled noise, and never above what is learnt without noise."""
    shares = []
    for patients in (20, 75, 250, 1000, 20_000):
        rows = planned(study, "--patients", str(patients))["rows"]
        now = rows["this study"]
        shares.append(now["learnt"])
        assert now["learnt"] < rows["one noise"]["learnt"] < now["learnt_without_noise"] < 1
        assert now["learnt"] < rows["4 times the sites"]["learnt"]
        assert now["learnt"] < rows["4 times the patients"]["learnt"]
    assert shares == sorted(shares)
    assert shares[0] < 0.05
    assert 0.15 < shares[3] < 0.5
    assert shares[-1] > 0.6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--patients", "10", "--set", "privacy.noise_multiplier=12"), "Hopeless: the student would stay"),
        (("--patients", "1000"), "Nothing speaks against it."),
        (
            ("--patients", "100", "--set", "privacy.trainable=scales", "--set", "federation.merge=mean"),
            "or train a readout",
        ),
    ],
)
def test_a_hopeless_study_is_named_with_what_would_help(
    study: Path, words: tuple[str, ...], said: str
) -> None:
    """The last sentence says it, and how many patients would be enough."""
    result = CliRunner().invoke(app, [str(study), *words], catch_exceptions=False)
    assert result.exit_code == 0
    assert said in result.output


def test_sites_may_differ(study: Path) -> None:
    """One number stands for all sites, several for one each; both is refused where they disagree."""
    words = [word for patients in (1200, 300, 80) for word in ("--patients", str(patients))]
    now = planned(study, *words)["rows"]["this study"]
    assert (now["sites"], now["patients"]) == (3, 1580)
    assert planned(study, "--patients", "500", "--sites", "2")["rows"]["this study"]["patients"] == 1000
    for wrong, why in (([*words, "--sites", "4"], "--sites is 4"), (["--patients", "0"], "--patients is 0")):
        with pytest.raises(ConfigError, match=why):
            CliRunner().invoke(app, [str(study), *wrong], catch_exceptions=False)


def test_without_privacy_nothing_is_hidden(study: Path) -> None:
    """Then only chance is left, and no row is of a budget."""
    rows = planned(study, "--patients", "100", "--set", "privacy.enabled=false")["rows"]
    assert rows["this study"]["learnt"] == pytest.approx(rows["this study"]["learnt_without_noise"])
    assert set(rows) == {"this study", "4 times the patients", "4 times the sites"}
    assert rows["this study"]["signal_to_noise"] is None


def test_a_larger_budget_is_shown_where_it_changes_the_noise(study: Path) -> None:
    """A multiplier that stands in the file is the same at any epsilon; one that is calibrated is not."""
    assert "epsilon 16" not in planned(study, "--patients", "250")["rows"]
    study.write_text(STUDY.replace("noise_multiplier: 1.25, ", ""), encoding="utf-8")
    rows = planned(study, "--patients", "250")["rows"]
    assert rows["epsilon 16"]["learnt"] > rows["this study"]["learnt"]
