"""How often a study may look whether a hospital is ready: counted, limited, and answered again without looking."""

import csv
from pathlib import Path
from typing import Any

import pytest

from client.readiness.budget_check import ledger_findings
from client.rounds.answer import answer
from client.rounds.local_training import fill_target_cache
from client.site.site import Site
from client.site.target_cache import TargetCache
from server.rounds.study import _FINAL
from shared.errors import ErrorCode
from shared.messages.releases import ErrorRelease, decode_release
from shared.messages.requests import decode_request

MOST = 3


def said(parts: dict[str, bytes]) -> str:
    """Return the name of what was released, or the error's code."""
    if "error" not in parts:
        return next(iter(parts))
    fields = decode_release(parts["error"]).fields
    assert isinstance(fields, ErrorRelease)
    return str(fields.code)


def under(payload: bytes, uid: str) -> bytes:
    """Return the request under another study_uid of the same length."""
    return payload.replace(decode_request(payload).header.study_uid.encode(), uid.encode())


def looks(site: Site, digest: str) -> int:
    """Return how often a study has looked."""
    with site.ledger() as ledger:
        return ledger.enrolments(digest)


@pytest.fixture
def live(tiny_federation: Any, tmp_path: Path) -> Path:
    """Return the hospital's own list of films, of which a film can go."""
    source = tiny_federation.site("film", tmp_path / "unused").config.data.source
    with source.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    path = tmp_path / "live.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(
            row
            | {name: str((source.parent / row[name]).resolve()) for name in ("file", "mask") if row.get(name)}
            for row in rows
        )
    return path


@pytest.fixture
def site(tiny_federation: Any, tmp_path: Path, live: Path) -> Site:
    """Open one hospital that lets a study look three times."""
    made: Site = tiny_federation.site(
        "film", tmp_path, data={"source": str(live), "max_unreadable": 0.0}, max_enrolments=MOST
    )
    return made


def test_an_enrolled_site_is_not_looked_at_again(tiny_federation: Any, site: Site, live: Path) -> None:
    """The same request gets the same bytes though the data is gone, and is counted once."""
    request = tiny_federation.request("enrol", 0)
    first = answer(site, request)
    assert said(first) == "enrolment"
    live.unlink()
    for _ in range(2 * MOST):
        assert answer(site, request) == first
    assert looks(site, tiny_federation.study.digest()) == 1


def test_a_study_gets_so_many_looks_whatever_uid_it_comes_under(
    tiny_federation: Any, site: Site, live: Path
) -> None:
    """Whether data can be read shows `max_enrolments` times, be it by one uid or by new ones; then one code, always."""
    films = live.read_text()
    seen = []
    for number in range(2 * MOST):
        live.write_text(films if number % 2 else "no list of films")
        seen.append(said(answer(site, under(tiny_federation.request("enrol", 0), f"{number:032x}"))))
    assert seen == ["not_ready", "enrolment", "not_ready"] + ["enrolments_spent"] * MOST
    assert looks(site, tiny_federation.study.digest()) == MOST
    live.unlink()  # refused before data is touched
    assert said(answer(site, tiny_federation.request("enrol", 5))) == "enrolments_spent"


def test_a_site_that_was_not_ready_may_be_mended(tiny_federation: Any, site: Site, live: Path) -> None:
    """Not ready is counted, not stored: the same request is answered anew once data is mended, and then for good."""
    request, films = tiny_federation.request("enrol", 0), live.read_text()
    live.write_text("no list of films")
    assert said(answer(site, request)) == "not_ready"
    live.write_text(films)
    assert said(answer(site, request)) == "enrolment"
    assert [said(answer(site, request)) for _ in range(MOST)] == ["enrolment"] * MOST
    with site.ledger() as ledger:
        assert ledger.verify() == 3  # two looks, one answer
        assert ledger.enrolments(tiny_federation.study.digest()) == 2
        assert ledger.mechanisms("train") == []


def test_another_study_has_looks_of_its_own_and_the_hospital_may_give_more(
    tiny_federation: Any, site: Site, live: Path, tmp_path: Path
) -> None:
    """The count is of one digest; only site.yaml raises it; `rounds-site check` says how it stands."""
    films = live.read_text()
    live.write_text("no list of films")
    for number in range(MOST):
        answer(site, tiny_federation.request("enrol", number))
    live.write_text(films)
    other = tiny_federation.changed(federation={"steps": 1})
    assert said(answer(site, tiny_federation.request("enrol", MOST))) == "enrolments_spent"
    assert (
        said(answer(site, under(tiny_federation.request("enrol", 0, study=other), "b" * 32))) == "enrolment"
    )
    (told,) = [one for one in ledger_findings(site, tiny_federation.study) if one.what == "enrolments"]
    assert told.mark == "fail"
    assert "max_enrolments is 3; it is refused from now on" in told.sentence
    data = {"source": str(live), "max_unreadable": 0.0}
    more = tiny_federation.site("film", tmp_path, data=data, max_enrolments=MOST + 1)
    assert said(answer(more, tiny_federation.request("enrol", MOST))) == "enrolment"


def test_one_uid_enrols_for_one_study(tiny_federation: Any, site: Site) -> None:
    """A uid that enrolled for a study is a conflict for another one."""
    answer(site, tiny_federation.request("enrol", 0))
    other = tiny_federation.changed(federation={"steps": 1})
    assert said(answer(site, tiny_federation.request("enrol", 0, study=other))) == "ledger_conflict"


def test_the_declared_number_that_counts_is_told(
    tiny_federation: Any, site: Site, live: Path, tmp_path: Path
) -> None:
    """A hospital that changed its declared number says the new one when asked again, without a look at data."""
    answer(site, tiny_federation.request("enrol", 0))
    live.unlink()
    changed = tiny_federation.site("film", tmp_path, data={"source": str(live)}, declared_patients=9)
    fields: Any = decode_release(answer(changed, tiny_federation.request("enrol", 0))["enrolment"]).fields
    assert fields.declared_patients == 9


def test_the_teacher_is_loaded_whether_or_not_anybody_is_new(
    tiny_federation: Any, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enrolment takes one path: teacher loaded and every patient read, with a full cache as with an empty one."""
    loads, asked = [], []
    load, targets = TargetCache.load_teacher, TargetCache.targets

    def counted_load(cache: TargetCache) -> Any:
        loads.append(cache)
        return load(cache)

    def counted_targets(cache: TargetCache, patient_id: str, views: Any) -> Any:
        asked.append(patient_id)
        return targets(cache, patient_id, views)

    monkeypatch.setattr(TargetCache, "load_teacher", counted_load)
    monkeypatch.setattr(TargetCache, "targets", counted_targets)
    fill_target_cache(site, tiny_federation.study)
    assert len(asked) == 4
    loads.clear()
    fill_target_cache(site, tiny_federation.study)
    assert (len(loads), len(asked)) == (1, 8)


def test_a_study_that_cannot_be_answered_in_time_is_not_asked_again() -> None:
    """The hub drops a site that refused for the study's own times: nothing that it can send would change that."""
    assert ErrorCode.DEADLINE_TOO_SHORT in _FINAL
