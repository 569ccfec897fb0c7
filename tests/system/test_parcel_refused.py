"""What is no whole parcel of the own hub, or no own answer of a site, is refused; what fails on the way is undone."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from client.consent.approvals import Approvals
from client.review import parcel_intake as take
from server.hub.bundle_registry import Registry
from server.hub.certificates import Names
from server.hub.hub_folder import HubFolder, make_hub
from shared.config.files import read_study
from shared.errors import ApprovalsError
from shared.trust.parcel_answer import ParcelAnswer
from shared.trust.site_introduction import read_introduction
from tests.system.parcels import SET, Federation, Place, yes


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        ((), "no\n"),
        ((), "yes\nno\n"),
        ((), "y\n"),
        ((), ""),
        (("--yes-code", "0" * 64), "yes\nyes\n"),
        (("--yes-study", "0" * 64), "yes\nyes\n"),
    ],
)
def test_without_both_yeses_nothing_changes(fresh: Federation, words: tuple[str, ...], typed: str) -> None:
    """A no, another word, nobody at the keyboard, another digest: no file of the site is another."""
    before = fresh.north.files()
    assert fresh.north.take(fresh.parcel, *words, typed=typed).exit_code == 1
    assert fresh.north.files() == before


def test_a_failure_on_the_way_undoes_what_was_done(
    fresh: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the record of decisions cannot be written, neither weights nor digests stay, and no answer is made."""
    before = fresh.north.files()
    keeps = Approvals.decide

    def full(self: Approvals, kind: Any, *words: Any, **more: Any) -> Approvals:
        if kind == "study":
            assert {path.suffix for path in self.file._path.parent.parent.glob("weights/*")} == {
                ".safetensors"
            }
            raise ApprovalsError("approvals.jsonl: cannot be written; check its volume and rights")
        return keeps(self, kind, *words, **more)

    monkeypatch.setattr(Approvals, "decide", full)
    done = fresh.north.take(fresh.parcel, *yes(fresh))
    assert (done.exit_code, "cannot be written" in done.stderr) == (1, True)
    after = fresh.north.files()
    decided = {"state/approvals.jsonl", "head/ledger.approvals"}
    shown = {name for name in after if name.startswith(("state/bundles/", "state/studies/"))}
    assert {name: data for name, data in after.items() if name not in decided | shown} == before
    monkeypatch.undo()
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0


def test_ctrl_c_in_the_middle_waits_for_the_end(fresh: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real SIGINT between weights and decisions: all is in place, and then the command ends as interrupted."""
    place = take.keep_study

    def interrupted(*words: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        place(*words)

    monkeypatch.setattr(take, "keep_study", interrupted)
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 130
    assert fresh.north.site.approves_study(fresh.offered["digest"])
    assert fresh.north.answer.is_file()
    assert len(list(fresh.north.site.config.weights_dir.iterdir())) == 2


def test_nothing_that_lies_in_the_way_is_followed(fresh: Federation) -> None:
    """A link where a copy is staged, and one where the weights belong, are replaced and not written through."""
    victim = fresh.north.path / "victim"
    victim.write_bytes(b"mine")
    folder = fresh.north.site.config.weights_dir
    models = read_study(fresh.workspace / "study.yaml").models
    (folder / f".{models.teacher.sha256}.take").symlink_to(victim)
    (folder / f"{models.initial_sha256}.safetensors").symlink_to(victim)
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    assert victim.read_bytes() == b"mine"
    assert not any(path.is_symlink() for path in folder.iterdir())


def test_a_parcel_of_another_hub_is_not_taken(fresh: Federation, tmp_path: Path) -> None:
    """A hub of the same name and address with a CA of its own: refused before anything is shown or kept."""
    other = make_hub(tmp_path / "other", "tiny", "127.0.0.1:8443", Names.of([], ["127.0.0.1"]))
    done = Place(other.path).hub("study", "offer", fresh.workspace, *SET, "--out", tmp_path / "other.study")
    assert done.exit_code == 0, done.output
    before = fresh.north.files()
    refused = fresh.north.take(tmp_path / "other.study", *yes(fresh))
    assert (refused.exit_code, "is not sealed by the hub" in refused.stderr) == (1, True)
    assert (refused.stdout, fresh.north.files()) == ("", before)


def test_only_the_admitted_site_s_own_answer_is_accepted(fresh: Federation, tmp_path: Path) -> None:
    """Altered, under another's name, of another federation or parcel, of nobody, of a removed site: all refused."""
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    told = ParcelAnswer.model_validate_json(fresh.north.answer.read_bytes())
    file = tmp_path / "given.json"

    def why(data: bytes) -> str:
        file.write_bytes(data)
        done = fresh.hub.hub("study", "accept", file)
        assert done.exit_code == 1
        return done.stderr

    key = take.load_approval_key(fresh.north.path / "keys")
    assert "was altered" in why(told.model_copy(update={"study": "1" * 64}).to_json())
    assert "another key" in why(told.model_copy(update={"site": "south"}).signed(key).to_json())
    assert "is not admitted here" in why(told.model_copy(update={"site": "west"}).signed(key).to_json())
    assert "another federation" in why(told.model_copy(update={"ca": "1" * 64}).signed(key).to_json())
    assert "was not offered here" in why(told.model_copy(update={"parcel": "1" * 64}).signed(key).to_json())
    assert "was not offered here" in why(told.model_copy(update={"study": "1" * 64}).signed(key).to_json())
    assert "signatures are not those" in why(
        told.model_copy(update={"bundle": "1" * 64}).signed(key).to_json()
    )
    assert "no answer in format 1" in why(b"{" * 3)
    assert json.loads(fresh.hub.hub("study", "offers", "--json").stdout)[0]["approved"] == {}
    assert Registry(fresh.hub.path / "registry").signatures() == []
    with HubFolder(fresh.hub.path).sites() as sites:
        sites.remove("north")
    assert "is not admitted here" in why(told.to_json())


def test_an_older_answer_is_not_taken_after_a_newer(fresh: Federation, tmp_path: Path) -> None:
    """What a site sent before its last decision may approve what it withdrew; the same file twice is fine."""
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    shutil.copy(fresh.north.answer, tmp_path / "old.json")
    fresh.north.says("study", "withdraw", fresh.offered["digest"][:8])
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    for _ in range(2):
        assert fresh.hub.hub("study", "accept", fresh.north.answer).exit_code == 0
    refused = fresh.hub.hub("study", "accept", tmp_path / "old.json")
    assert (refused.exit_code, "is of decision 2, north has sent its decision 4" in refused.stderr) == (
        1,
        True,
    )


def test_another_study_than_the_offered_is_not_submitted(fresh: Federation) -> None:
    """With other settings the hub says what was offered and how to ask it, before anybody is asked anything."""
    refused = fresh.hub.submit(fresh.workspace)
    assert refused.exit_code == 1
    assert f"offered was {fresh.offered['digest'][:12]}" in refused.stderr
    assert "--set federation.rounds=1 --set privacy.epsilon=7" in refused.stderr
    assert list((fresh.hub.path / "studies").iterdir()) == []
    assert fresh.hub.submit(fresh.workspace, "--not-offered").exit_code == 0


def test_introductions_are_those_that_were_admitted(fresh: Federation) -> None:
    """The copies that these tests work on are the same hospitals as the hub admitted."""
    with HubFolder(fresh.hub.path).sites() as sites:
        known = {row.name: row.fingerprint for row in sites.admitted()}
    for place in (fresh.north, fresh.south):
        found = read_introduction(place.path / f"{place.path.name}.pub")
        assert known[found.site] == found.fingerprint()
