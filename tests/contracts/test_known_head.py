"""A ledger put back together with its head file: the site cannot see it, the head that the hub remembers shows it."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from client.rounds.answer import answer
from server.evaluation.run_records import _events
from server.rounds.study import run_study
from server.runs.run_folder import RunFolder, read_lines
from shared.messages.releases import LedgerStatement, Release, decode_release, encode_release
from shared.messages.requests import LedgerHead, decode_request

OTHER = "e" * 64


def score(_weights: Any) -> dict[str, Any]:
    return {}


def run(federation: Any, hospitals: Any, folder: RunFolder) -> list[dict[str, Any]]:
    """Run two rounds; return their records."""
    study = federation.changed(federation={"rounds": 2, "evaluate_sites": True})
    run_study(study, federation.initial, hospitals, folder, score)
    return list(read_lines(folder.rounds))[1:]


def test_the_hub_sends_each_site_its_own_last_head(tiny_federation: Any, tmp_path: Path) -> None:
    """A request carries what that site's ledger stated last; the first one of a study carries none."""
    hospitals = tiny_federation.hospitals(tiny_federation.sites(tmp_path / "state"))
    run(tiny_federation, hospitals, RunFolder(tmp_path))
    for site in ("bedside", "children", "film"):
        stated = [None]
        for name, kind, payload, parts in hospitals.asked:
            if name == site and kind != "enrol":
                assert decode_request(payload).header.known_head == stated[-1]
                fields = decode_release(parts["ledger_statement"], kinds=("ledger_statement",)).fields
                stated.append(LedgerHead(seq=fields.head_seq, hash=fields.head_hash))
        assert [head.seq for head in stated[1:]] == [4, 6, 8]  # after the enrolment's two rows


def test_a_ledger_put_back_with_its_head_file_is_refused(tiny_federation: Any, tmp_path: Path) -> None:
    """A site restored whole to an earlier day refuses to spend again what it has forgotten, and is named."""
    state, backup, folder = tmp_path / "state", tmp_path / "backup", RunFolder(tmp_path)
    sites = tiny_federation.sites(state)

    def restored(name: str, kind: str, parts: dict[str, bytes]) -> dict[str, bytes]:
        if (name, kind) == ("film", "enrol"):
            shutil.copytree(state, backup)
        if (name, kind) == (
            "film",
            "train",
        ):  # the answer has left; then a disk fails, and a backup is put back
            for path in (state / "film", state / "heads" / "film.head"):
                remove = shutil.rmtree if path.is_dir() else Path.unlink
                remove(path)
            shutil.copytree(backup / "film", state / "film")
            shutil.copy(backup / "heads" / "film.head", state / "heads" / "film.head")
        return parts

    first, second = run(tiny_federation, tiny_federation.hospitals(sites, restored), folder)
    assert "film" in first["answered"]
    assert second["missing"] == {"film": "ledger_stopped"}
    assert ("film", "ledger_stopped") in [(one.site, one.what) for one in _events(folder)]
    with sites["film"].ledger() as ledger:
        assert ledger.verify() == 2  # whole, as far as the site can see, and nothing was charged
        assert ledger.mechanisms("train") == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (None, "update"),
        (lambda s: LedgerHead(seq=s.head_seq, hash=s.head_hash), "update"),
        (lambda s: LedgerHead(seq=s.head_seq, hash=OTHER), "error"),
        (lambda s: LedgerHead(seq=s.head_seq + 1, hash=s.head_hash), "error"),
    ],
    ids=["none", "its own", "another hash", "a row to come"],
)
def test_a_remembered_head_only_makes_a_site_stricter(
    tiny_federation: Any, tmp_path: Path, head: Callable | None, status: str
) -> None:
    """A true head changes nothing, a false one is refused without a charge, and the site goes on afterwards."""
    site = tiny_federation.site("film", tmp_path)
    parts = answer(site, tiny_federation.request("train", 1))
    stated = decode_release(parts["ledger_statement"], kinds=("ledger_statement",)).fields
    request = tiny_federation.request("train", 2, known_head=head and head(stated))
    assert status in answer(site, request)
    with site.ledger() as ledger:
        assert len(ledger.mechanisms("train")) == (2 if status == "update" else 1)
    assert "update" in answer(site, tiny_federation.request("train", 2))


def forged(release: Release, **fields: Any) -> bytes:
    """Return a statement that differs in some fields."""
    return encode_release(
        Release(release.study_uid, release.round, LedgerStatement(**release.fields.model_dump() | fields))
    )


@pytest.mark.parametrize(
    "fields", [{"head_seq": 1}, {"head_seq": 2, "head_hash": OTHER}], ids=["cut", "replaced"]
)
def test_the_hub_discards_what_comes_with_a_shorter_ledger(
    tiny_federation: Any, tmp_path: Path, fields: dict[str, Any]
) -> None:
    """An answer whose statement does not follow the site's last one is left out, and the report says why."""
    folder, statements = RunFolder(tmp_path), []

    def cut(name: str, kind: str, parts: dict[str, bytes]) -> dict[str, bytes]:
        if (name, kind) != ("film", "train"):
            return parts
        statement = decode_release(parts["ledger_statement"], kinds=("ledger_statement",))
        statements.append(statement.fields)
        return parts if len(statements) == 1 else parts | {"ledger_statement": forged(statement, **fields)}

    sites = tiny_federation.sites(tmp_path / "state")
    _, second = run(tiny_federation, tiny_federation.hospitals(sites, cut), folder)
    assert second["answered"] == ["bedside", "children"]
    assert "restored or cut; discarded" in second["missing"]["film"]
    assert second["epsilon"]["film"] == statements[0].epsilon
    assert any("restored or cut" in one.what for one in _events(folder) if one.site == "film")
