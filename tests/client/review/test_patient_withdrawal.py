"""A forgotten patient takes part in no later round; nobody else moves; what stays is said."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from client.rounds.local_training import fill_target_cache
from client.site.site import Site
from client.site.withdrawn_patients import forgotten_name
from shared.config.files import write_yaml
from shared.data.dicom.source import safe_patient
from shared.data.patients import Patient
from shared.errors import ApprovalsError
from tests.probe_app import Hospital


def ids(parts: dict[Any, list[Patient]]) -> dict[str, str]:
    return {patient.patient_id: part for part, patients in parts.items() for patient in patients}


def filled(hospital: Hospital, study: Any) -> Site:
    """Approve the study and fill the cache, as enrolment does."""
    hospital.says("study", "approve", hospital.folder / "study.yaml")
    fill_target_cache(hospital.site, study)
    return hospital.site


def rows(site: Site) -> set[str]:
    """Return the names of the patients whose targets are cached."""
    with closing(sqlite3.connect(site.config.state_dir / "targets.sqlite")) as database:
        return {name for (name,) in database.execute("SELECT patient FROM targets")}


def test_the_patient_is_left_out_and_nobody_else_moves(real: Hospital, tiny_federation: Any) -> None:
    """Every other patient keeps the partition it had; the forgotten one is in none, at each later opening."""
    study = tiny_federation.study
    before = ids(real.site.partitions(study))
    gone = min(before)
    real.says("forget", gone)
    assert ids(real.site.partitions(study)) == {name: part for name, part in before.items() if name != gone}
    assert gone not in {patient.patient_id for patient in real.site.patients(study)}


def test_the_patient_s_targets_are_purged_and_no_other(real: Hospital, tiny_federation: Any) -> None:
    """One row of the cache goes, the others stay."""
    site = filled(real, tiny_federation.study)
    gone = min(ids(site.partitions(tiny_federation.study)))
    name = forgotten_name(site.key(), gone)
    before = rows(site)
    assert name in before
    assert "purged: 1 cached sets of targets" in real.says("forget", gone)
    assert rows(site) == before - {name}


def test_it_says_what_cannot_be_undone(real: Hospital, tiny_federation: Any) -> None:
    """After a round the spend that bounds the released updates is named, and what is not done here."""
    site = filled(real, tiny_federation.study)
    parts = ids(site.partitions(tiny_federation.study))
    gone = next(name for name, part in parts.items() if part == "train")
    with site.ledger() as ledger:
        ledger.record_declared("0" * 64, 0.5, 1e-7)
    told = real.says("forget", gone)
    assert "cannot be undone: updates already released" in told
    assert "epsilon 0.5 at delta 1e-05" in told
    assert "not done here: the hospital's own images" in told


def test_no_identifier_is_kept_or_printed(real: Hospital, tiny_federation: Any) -> None:
    """Neither the record, any file of the site's state, nor what is printed holds the identifier."""
    site = filled(real, tiny_federation.study)
    gone = min(ids(site.partitions(tiny_federation.study)))
    told = real.says("forget", gone)
    assert gone not in told
    for path in (real.folder / "state").rglob("*"):
        if path.is_file():
            assert gone.encode() not in path.read_bytes(), path.name
    assert "recorded as decision 2" in told
    assert [one.kind for one in site.approvals().entries] == ["study", "patient"]


def test_forgetting_twice_is_recorded_once(real: Hospital, tiny_federation: Any) -> None:
    """The second time says so, purges again and adds nothing to the record."""
    gone = min(ids(real.site.partitions(tiny_federation.study)))
    real.says("forget", gone)
    assert "had been forgotten before" in real.says("forget", gone)
    assert len(real.site.approvals().entries) == 1


def test_an_unknown_identifier_is_asked_back(real: Hospital, tiny_federation: Any) -> None:
    """A spelling that was never seen is recorded after a yes alone; no, or nobody there to answer, records nothing."""
    real.site.partitions(tiny_federation.study)
    for typed in ("somebody else\nn\n", "somebody else\n"):
        done = real.run("forget", "-", typed=typed)
        assert (done.exit_code, "nothing was recorded" in done.stderr) == (1, True), done.output
        assert "somebody" not in done.output
        assert real.site.approvals().entries == ()
    done = real.run("forget", "-", typed="somebody else\ny\n")
    assert done.exit_code == 0, done.output
    (entry,) = real.site.approvals().entries
    assert entry.digest == forgotten_name(real.site.key(), "somebody else")
    assert "had been forgotten before" in real.says("forget", "somebody else")
    assert real.run("forget", " ").exit_code == 1


def test_a_script_says_that_an_identifier_is_new(real: Hospital) -> None:
    """With --unseen nothing is asked."""
    assert "nobody under this identifier has been seen" in real.says("forget", "somebody else", "--unseen")
    assert len(real.site.approvals().entries) == 1


def test_a_known_patient_is_not_asked_back(real: Hospital, tiny_federation: Any) -> None:
    """Whoever was divided into a partition here is forgotten at once, as nobody waits at the keyboard."""
    gone = min(ids(real.site.partitions(tiny_federation.study)))
    done = real.run("forget", gone)
    assert (done.exit_code, "may be mistyped" in done.output) == (0, False)


def test_a_dicom_patient_is_known_by_digest(real: Hospital, tmp_path: Path) -> None:
    """Of DICOM data the PatientID is given, and the digest that the reader goes by is excluded."""
    rules = {"label_tag": "StudyDescription", "label_rules": {"*": "normal"}}
    real.change(data={"source": str(tmp_path), "dicom": rules})
    real.says("forget", "4711", "--unseen")
    (entry,) = real.site.approvals().entries
    assert entry.digest == forgotten_name(real.site.key(), safe_patient("4711"))


def test_another_site_key_stops_the_site(real: Hospital, tiny_federation: Any) -> None:
    """Exclusions under a lost site key would match nobody: the site stops instead of taking the patient in again."""
    gone = min(ids(real.site.partitions(tiny_federation.study)))
    real.says("forget", gone)
    (real.folder / "state" / "site.key").unlink()
    with pytest.raises(ApprovalsError, match=r"site\.key is not the key"):
        real.site.partitions(tiny_federation.study)


def test_a_withdrawn_study_takes_its_targets_along(real: Hospital, tiny_federation: Any) -> None:
    """On withdrawal of one of two studies the shared rows stay; with the second they are purged."""
    site = filled(real, tiny_federation.study)
    num_rows = len(rows(site))
    other = tiny_federation.changed(federation={"rounds": 5})
    write_yaml(real.folder / "other.yaml", other)
    real.says("study", "approve", real.folder / "other.yaml")
    fill_target_cache(site, other)
    assert "targets of 0 patients purged" in real.says("study", "withdraw", tiny_federation.study.digest())
    assert len(rows(site)) == num_rows
    assert f"targets of {num_rows} patients purged" in real.says("study", "withdraw", other.digest())
    assert rows(site) == set()
