"""A study that cannot succeed is refused before a hospital is asked."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from server.rounds.feasibility import MadeSite, calibrated, check_made_sites, check_test_patients
from server.rounds.study import run_study
from server.runs.run_folder import RunFolder, read_lines
from shared.config.files import parse_study
from shared.config.site import Cap
from shared.data.patients import ImageRecord, Patient
from shared.errors import ConfigError, DataError, RoundsError, StudyError
from tests.conftest import STUDY

SITES = [MadeSite(name, 12, Cap(epsilon=10.0, delta=1e-5)) for name in ("bedside", "children", "film")]


def study(**groups: dict[str, Any]) -> Any:
    raw = {
        key: value | groups.get(key, {}) if isinstance(value, dict) else value for key, value in STUDY.items()
    }
    return parse_study(raw)


def test_a_study_that_can_succeed_is_let_through() -> None:
    """Nothing is refused of the usual study, nor of one without privacy where hospitals allow that."""
    check_made_sites(study(), SITES)
    open_sites = [MadeSite(one.name, 12, one.cap, without_privacy=True) for one in SITES]
    check_made_sites(study(privacy={"enabled": False}), open_sites)


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [
        ({"federation": {"quorum": 5}}, r"federation\.quorum is 5, allowed is at most .*\(3\)"),
        ({"federation": {"min_sites": 4}}, r"federation\.min_sites is 4, allowed is at most .*\(3\)"),
        ({"privacy": {"delta": 9e-3}}, r"privacy\.delta is 0\.009, allowed is at most 0\.00833"),
        ({"privacy": {"sample_rate": 0.1}}, r"privacy\.sample_rate is 0\.1"),
        ({"privacy": {"enabled": False}}, r"privacy\.enabled is False"),
        (
            {"privacy": {"epsilon": 50.0, "noise_multiplier": 0.6}},
            r"allowed there is 10; lower privacy\.epsilon",
        ),
    ],
)
def test_what_hospitals_would_refuse_is_refused_first(groups: dict[str, Any], sentence: str) -> None:
    """Too few sites, a delta or rate for other sites, caps below the whole spend: one sentence each."""
    with pytest.raises(ConfigError, match=sentence):
        check_made_sites(study(**groups), SITES)


def test_a_study_of_yesterday_is_refused() -> None:
    """A study whose last day is past is not begun."""
    past = study().model_copy(update={"expires": date(2020, 1, 1)})
    with pytest.raises(ConfigError, match=r"expires is 2020-01-01"):
        check_made_sites(past, SITES)


@pytest.mark.parametrize(
    "privacy",
    [
        {"epsilon": 0.01, "noise_multiplier": None},
        {"epsilon": 8.0, "noise_multiplier": 0.1, "sample_rate": 1.0},
    ],
)
@pytest.mark.timeout(120)
def test_steps_that_overflow_the_accountant_are_refused(privacy: dict[str, Any]) -> None:
    """A budget that no noise keeps, or noise that keeps none, is one sentence, however many steps."""
    many = study(privacy=privacy, federation={"rounds": 100, "steps": 1000})
    with pytest.raises(RoundsError, match=r"^privacy\.(epsilon|noise_multiplier) is "):
        calibrated(many)


@pytest.mark.parametrize(
    ("labels", "has"),
    [([], "none"), ([1, 1], "only patients with opacity"), ([0], "only patients without opacity")],
)
def test_test_patients_must_be_of_both_kinds(labels: list[int], has: str) -> None:
    """With no test patient, or one kind alone, there is nothing to judge a student by."""
    with pytest.raises(DataError, match=rf"it has {has}, so there is no AUC"):
        check_test_patients([patient(number, label) for number, label in enumerate(labels)], study().task)
    check_test_patients([patient(0, 0), patient(1, 1)], study().task)


def patient(number: int, label: int) -> Patient:
    record = ImageRecord(
        file=Path("a.png"),
        label=label,
        site="a",
        patient_id=f"P{number}",
        split="test",
        mask=None,
        index=None,
    )
    return Patient(f"P{number}", (record,))


def test_too_few_for_the_quorum_are_asked_for_nothing(tiny_federation: Any, tmp_path: Path) -> None:
    """With fewer sites than the quorum the study ends after enrolment, and no ledger is charged."""
    sites = tiny_federation.sites(tmp_path / "state")
    hospitals = tiny_federation.hospitals(sites)
    asking = tiny_federation.changed(federation={"quorum": 5})
    with pytest.raises(StudyError, match=r"federation\.quorum is 5: 3 of 3 connected sites enrolled"):
        run_study(asking, tiny_federation.initial, hospitals, RunFolder(tmp_path), lambda _: {})
    assert {kind for _, kind, _, _ in hospitals.asked} == {"enrol"}
    assert not [line for line in read_lines(RunFolder(tmp_path).events) if line["event"] == "answered"]
