"""Nothing of a DICOM header but label and a hashed patient gets out of the reader, whatever a site is asked."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.rounds.answer import answer
from shared.data.dicom.source import safe_patient
from tests.dicom_files import PEOPLE, PLANTED, dicom_file, picture
from tests.phi import contents, where_found

RULES = {"label_tag": "StudyDescription", "label_rules": {"*pneumonia*": "opacity", "*": "normal"}}


def test_answers_ledger_cache_and_log_hold_no_planted_value(
    tiny_federation: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """After enrolment, training and evaluation on DICOM no planted value, and no digest of one, is anywhere."""
    caplog.set_level(logging.DEBUG)
    films = tmp_path / "films"
    for number in range(10):
        tags = {"PatientID": f"PLANTED-{number}"}
        dicom_file(films / f"{number}.dcm", picture(number, top=255).astype(np.uint8), **tags)
    cut = dicom_file(films / "cut.dcm", picture(), PatientID="PLANTED-cut")
    cut.write_bytes(cut.read_bytes()[:-3000])
    data = {"source": str(films), "dicom": RULES, "max_unreadable": 0.2}
    releases = ["enrolment", "update", "ledger_statement", "status", "error", "evaluation"]
    site = tiny_federation.site(
        "film", tmp_path / "state", data=data, declared_patients=10, allow_releases=releases
    )
    places = {
        f"{kind} {name}": part
        for kind, round_ in (("enrol", 0), ("train", 1), ("evaluate", 1))
        for name, part in answer(site, tiny_federation.request(kind, round_)).items()
    }
    assert {"enrol enrolment", "train update"} <= set(places)
    output = capfd.readouterr()
    places |= dict(contents([tmp_path / "state"]))
    assert any(name.endswith("targets.sqlite") for name in places)
    places |= {"log": caplog.text.encode(), "output": (output.out + output.err).encode()}
    digests = {safe_patient(f"PLANTED-{number}") for number in range(10)}
    values = {*PLANTED, *PEOPLE.values(), "PLANTED-", *digests}
    assert where_found(values, places) == []
    assert len(where_found(values, dict(contents([films])))) > 50  # the search finds what is there
