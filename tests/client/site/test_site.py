"""A hospital refuses what it has not agreed to, each with its code, and stops at bad data."""

import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from client.site.site_rules import describe
from shared.data.patients import Patient
from shared.data.sources import read_source
from shared.data.tables.manifest import write_manifest
from shared.errors import ConfigError, DataError, ErrorCode, Refusal

DAY = timedelta(days=1)


def refusal(site, study) -> tuple[ErrorCode, str]:
    """Return the code and sentence with which a site refuses a study."""
    with pytest.raises(Refusal) as refused:
        site.check_study(study)
    return refused.value.code, str(refused.value)


def test_an_approved_study_passes(tiny_federation, tmp_path: Path) -> None:
    """A study listed by its digest passes, with weights accepted by theirs."""
    site = tiny_federation.site("film", tmp_path, approved_studies=[tiny_federation.study.digest()])
    site.check_study(tiny_federation.study)


def test_a_study_that_was_not_approved(tiny_federation, tmp_path: Path) -> None:
    """The smallest change makes another study, which nobody approved."""
    site = tiny_federation.site("film", tmp_path, approved_studies=[tiny_federation.study.digest()])
    other = tiny_federation.changed(privacy={"epsilon": 8.01})
    assert refusal(site, other)[0] == ErrorCode.STUDY_NOT_APPROVED


def test_an_expired_study(tiny_federation, tmp_path: Path) -> None:
    """A study runs on its last day and not after."""
    site = tiny_federation.site("film", tmp_path)
    today = datetime.now(UTC).date()
    site.check_study(tiny_federation.study.model_copy(update={"expires": today + DAY}))
    over = tiny_federation.study.model_copy(update={"expires": today - DAY})
    assert refusal(site, over)[0] == ErrorCode.STUDY_EXPIRED


def test_no_privacy_only_where_allowed(tiny_federation, tmp_path: Path) -> None:
    """A study without privacy is refused unless the hospital typed allow_without_privacy."""
    study = tiny_federation.changed(privacy={"enabled": False})
    code, sentence = refusal(tiny_federation.site("film", tmp_path), study)
    assert code == ErrorCode.STUDY_NOT_APPROVED
    assert "allow_without_privacy: true" in sentence
    tiny_federation.site("film", tmp_path, allow_without_privacy=True).check_study(study)


def test_weights_nobody_accepted(tiny_federation, tmp_path: Path) -> None:
    """Weights that the hospital does not list, or does not hold, are refused by digest."""
    study = tiny_federation.study
    accepted = {study.models.teacher.sha256: "public"}
    site = tiny_federation.site("film", tmp_path, accepted_digests=accepted)
    code, sentence = refusal(site, study)
    assert code == ErrorCode.WEIGHTS_NOT_ACCEPTED
    assert study.models.initial_sha256[:12] in sentence
    absent = tiny_federation.site("film", tmp_path, weights_dir=str(tmp_path))
    assert refusal(absent, study)[0] == ErrorCode.WEIGHTS_NOT_ACCEPTED


def test_a_study_without_weights(tiny_federation, tmp_path: Path) -> None:
    """A study that names no initial weights is a bad request."""
    study = tiny_federation.changed(models={"initial_sha256": None})
    assert refusal(tiny_federation.site("film", tmp_path), study)[0] == ErrorCode.BAD_REQUEST


def test_a_delta_too_large(tiny_federation, tmp_path: Path) -> None:
    """A study's delta above 1 / (10 x declared patients) is refused, and the sentence says both numbers."""
    site = tiny_federation.site("film", tmp_path, declared_patients=20_000, cap={"delta": 1e-6})
    code, sentence = refusal(site, tiny_federation.study)
    assert code == ErrorCode.BAD_REQUEST
    assert "privacy.delta is 1e-05, allowed is at most 5e-06" in sentence


def test_a_sample_rate_too_small(tiny_federation, tmp_path: Path) -> None:
    """A sample rate under which a step would expect fewer than two declared patients is refused."""
    study = tiny_federation.changed(privacy={"sample_rate": 0.49})
    code, sentence = refusal(tiny_federation.site("film", tmp_path), study)
    assert code == ErrorCode.BAD_REQUEST
    assert "privacy.sample_rate" in sentence


def patients_of(tiny_federation) -> list[Patient]:
    """Read the patients of one site."""
    return read_source(tiny_federation.workspace / "manifests" / "film.csv", tiny_federation.study.task)


def with_patients(tiny_federation, folder: Path, patients: list[Patient], **data: Any):
    """Open a site whose manifest holds these patients."""
    write_manifest(patients, folder / "own.csv", tiny_federation.study.task)
    return tiny_federation.site("film", folder, data={"source": str(folder / "own.csv"), **data})


def test_unreadable_images_are_counted(tiny_federation, tmp_path: Path) -> None:
    """One broken image is too many by default; below max_unreadable the site takes part all the same."""
    patients = patients_of(tiny_federation)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    first = patients[0]
    broken = replace(first.images[0], file=tmp_path / "broken.png", mask=None, lesion_mask=None)
    patients[0] = Patient(first.patient_id, (broken, *first.images[1:]))
    num_images = sum(len(patient.images) for patient in patients)
    with pytest.raises(DataError, match=rf"max_unreadable is 0\.02: 1 of {num_images} images"):
        with_patients(tiny_federation, tmp_path, patients).check_data(tiny_federation.study)
    lenient = with_patients(tiny_federation, tmp_path, patients, max_unreadable=1 / num_images)
    assert lenient.check_data(tiny_federation.study) == 4


def test_nobody_to_train_on(tiny_federation, tmp_path: Path) -> None:
    """A site without a training patient stops and says what to check."""
    only = [patient for patient in patients_of(tiny_federation) if patient.split == "val"]
    site = with_patients(tiny_federation, tmp_path, only)
    with pytest.raises(DataError, match="no training patient; check"):
        site.check_data(tiny_federation.study)


def test_the_key_is_made_once(tiny_federation, tmp_path: Path) -> None:
    """The site's key is 32 bytes that only its owner can read, the same at every opening."""
    key = tiny_federation.site("film", tmp_path).key()
    assert len(key) == 32
    assert tiny_federation.site("film", tmp_path).key() == key
    assert tiny_federation.site("bedside", tmp_path).key() != key
    assert stat.S_IMODE((tmp_path / "film" / "site.key").stat().st_mode) == 0o600


def test_foreign_exceptions_are_not_quoted() -> None:
    """The log quotes our own sentences only; of any other exception it names the kind."""
    assert describe(ConfigError("field x is 5")) == "field x is 5"
    assert describe(OSError("/data/patient-17.png")) == "OSError"
