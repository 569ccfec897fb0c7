"""Figures that are kept to be read again: they save the computing, and decide nothing."""

import json
from pathlib import Path
from typing import Any

import pytest

from client.ledger.spend_cache import KeptFigures
from client.readiness.budget_check import ledger_findings
from client.review.study_terms import kept_figures, study_terms
from client.rounds.answer import answer
from shared.errors import ErrorCode
from shared.messages.releases import decode_release
from shared.privacy.accountant import calibrate, spend_against, stated_spend
from shared.privacy.mechanisms import Gaussian, Mechanism, PoissonGaussian, Unprotected

ROUND = PoissonGaussian(noise_multiplier=1.0, sample_rate=0.5, steps=2)


def test_what_is_kept_is_what_was_computed(tmp_path: Path) -> None:
    """A figure comes back as it was, whatever the order of its rows; another delta or cap is another question."""
    rows: list[Mechanism] = [ROUND, Gaussian(noise_multiplier=2.0)]
    asked = KeptFigures(tmp_path / "figures.json")
    first = asked.stated_spend(rows, 1e-5)
    assert list(tmp_path.iterdir()) == []  # asking alone keeps nothing
    asked.keep()
    kept = KeptFigures(tmp_path / "figures.json")
    assert first.epsilon == stated_spend(rows, 1e-5).epsilon
    assert kept.stated_spend(rows[::-1], 1e-5) == first
    assert kept.stated_spend(rows, 1e-6).epsilon == stated_spend(rows, 1e-6).epsilon
    assert kept.spend_against(rows, 1.0, 1e-5).epsilon == spend_against(rows, 1.0, 1e-5).epsilon
    kept.keep()
    assert len(json.loads((tmp_path / "figures.json").read_text())) == 3


def test_noise_is_kept(tmp_path: Path) -> None:
    """The multiplier of a budget comes back as it was computed."""
    file = tmp_path / "figures.json"
    asked = KeptFigures(file)
    noise = asked.calibrate(8.0, 1e-5, 0.5, 4)
    asked.keep()
    assert noise == calibrate(8.0, 1e-5, 0.5, 4)
    file.write_text(json.dumps({key: value * 2 for key, value in json.loads(file.read_text()).items()}))
    assert KeptFigures(file).calibrate(8.0, 1e-5, 0.5, 4) == noise * 2


@pytest.mark.parametrize(("held", "read"), [("0.5", True), ("0", False), ("Infinity", False), ("NaN", False)])
def test_kept_noise_is_a_finite_number_above_0(tmp_path: Path, held: str, *, read: bool) -> None:
    """Little noise may be kept; none, or endless noise, is no answer and is computed anew."""
    file = tmp_path / "figures.json"
    asked = KeptFigures(file)
    noise = asked.calibrate(8.0, 1e-5, 0.5, 4)
    asked.keep()
    (key,) = json.loads(file.read_text())
    file.write_text(f'{{"{key}": {held}}}')
    assert KeptFigures(file).calibrate(8.0, 1e-5, 0.5, 4) == (0.5 if read else noise)


def test_the_kept_one_is_read(tmp_path: Path) -> None:
    """The second time the file answers: another number in it is what is shown."""
    file = tmp_path / "figures.json"
    asked = KeptFigures(file)
    asked.stated_spend([ROUND], 1e-5)
    asked.keep()
    _overwrite(file, 0.125)
    assert KeptFigures(file).stated_spend([ROUND], 1e-5).epsilon == 0.125


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"a": {"epsilon": -1}}', '{"a": "x"}', '{"a": -3}', "\x00"]
)
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    """Whatever lies in the file, the figure is right, and kept afterwards."""
    file = tmp_path / "figures.json"
    file.write_text(content)
    expected = stated_spend([ROUND], 1e-5).epsilon
    asked = KeptFigures(file)
    assert asked.stated_spend([ROUND], 1e-5).epsilon == expected
    asked.keep()
    assert len(json.loads(file.read_text())) == 1


def test_no_file_is_made_where_no_folder_is_and_none_for_no_guarantee(tmp_path: Path) -> None:
    """Looking makes no folder; without privacy there is no figure to keep."""
    nowhere, endless = KeptFigures(tmp_path / "none" / "figures.json"), KeptFigures(tmp_path / "figures.json")
    nowhere.stated_spend([ROUND], 1e-5)
    assert endless.stated_spend([Unprotected()], 1e-5).epsilon == float("inf")
    for one in (nowhere, endless):
        one.keep()
    assert list(tmp_path.iterdir()) == []


def test_the_file_holds_the_newest_256(tmp_path: Path) -> None:
    """It does not grow for ever."""
    file = tmp_path / "figures.json"
    old = {str(number): {"epsilon": 1.0, "delta": 0.5, "accountant": "prv"} for number in range(300)}
    file.write_text(json.dumps(old))
    asked = KeptFigures(file)
    asked.stated_spend([ROUND], 1e-5)
    asked.keep()
    held = json.loads(file.read_text())
    assert len(held) == 256
    assert "299" in held
    assert "44" not in held


def test_a_kept_figure_decides_nothing(tiny_federation: Any, tmp_path: Path) -> None:
    """With every kept epsilon made small, the cap still refuses, and check still says so."""
    study = tiny_federation.study
    cap = {"epsilon": 0.01, "delta": 1e-5}
    site = tiny_federation.site("film", tmp_path, cap=cap)
    site.config.state_dir.mkdir(parents=True)
    figures = kept_figures(site)
    list(study_terms(site, study, figures))
    figures.keep()
    _overwrite(site.config.state_dir / "figures.json", 0.001)
    terms = [sentence for what, sentence in study_terms(site, study, kept_figures(site)) if what == "budget"]
    assert "0.00 after this study" in terms[0]  # what is shown is what was kept
    assert [one.mark for one in ledger_findings(site, study) if one.what == "budget"] == ["fail"]
    parts = answer(site, tiny_federation.request("enrol", 0))
    assert decode_release(parts["error"]).fields.code == ErrorCode.BUDGET_SPENT


def _overwrite(file: Path, epsilon: float) -> None:
    held = json.loads(file.read_text())
    changed = {
        key: one if isinstance(one, float) else one | {"epsilon": epsilon} for key, one in held.items()
    }
    file.write_text(json.dumps(changed))
