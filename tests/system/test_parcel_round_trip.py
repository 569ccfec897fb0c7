"""One parcel each way: offered at a hub, taken at two hospitals, accepted, and asked as it was offered."""

import json
import os
import shutil
import signal
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from client import take
from client.approvals import Approvals
from client.cli import app as site_app
from client.round import answer
from client.site import Site
from client.site_folder import join_federation, make_site
from server.authority import Names
from server.cli import app as hub_app
from server.hub_folder import HubFolder, make_hub
from server.registry import Registry
from server.submissions import find_study
from shared.config_files import read_site, read_study, read_yaml
from shared.errors import ApprovalsError, ConfigError
from shared.introduction import Introduction, read_introduction
from shared.parcel_answer import ParcelAnswer
from tests.conftest import TinyFederation

SET = ("--set", "federation.rounds=1", "--set", "privacy.epsilon=7")


@dataclass(frozen=True)
class Place:
    """A hub's folder, or a hospital's, and its commands."""

    path: Path

    @property
    def site_file(self) -> Path:
        return self.path / "site.yaml"

    @property
    def answer(self) -> Path:
        return self.path / f"{self.path.name}.answer.json"

    @property
    def site(self) -> Site:
        return Site(read_site(self.site_file))

    def hub(self, *words: object) -> Result:
        return CliRunner().invoke(hub_app, [*map(str, words), "--hub", str(self.path)])

    def submit(self, workspace: Path, *words: str) -> Result:
        """Submit to a hub whose services have just said that they run."""
        status = {"time": datetime.now(UTC).isoformat(), "superlink": "127.0.0.1:1", "services": {}}
        (self.path / "services.json").write_text(json.dumps(status))
        return self.hub("study", "submit", workspace, *words)

    def take(self, parcel: Path, *words: object, typed: str | None = None) -> Result:
        given = ["study", "take", str(parcel), "--site", str(self.site_file), *map(str, words)]
        return CliRunner().invoke(site_app, given, input=typed)

    def says(self, *words: object) -> str:
        done = CliRunner().invoke(site_app, [*map(str, words), "--site", str(self.site_file)])
        assert done.exit_code == 0, done.output
        return done.stdout

    def files(self) -> dict[str, bytes]:
        """Return what of the site a take may change, without locks."""
        return {
            str(path.relative_to(self.path)): path.read_bytes()
            for path in self.path.rglob("*")
            if path.is_file() and path.suffix != ".lock"
        }


@dataclass(frozen=True)
class Federation:
    """A hub that has offered one study, and two hospitals that have joined."""

    hub: Place
    north: Place
    south: Place
    workspace: Path
    parcel: Path
    offered: dict[str, Any]


def hospital(path: Path, hub: HubFolder, tiny: TinyFederation, data: str) -> Introduction:
    """Make a site as `init` and a person's own typing leave it, joined to the hub."""
    introduction = make_site(path, path.name)
    text = (path / "site.yaml").read_text()
    source = read_yaml(tiny.workspace / "sites" / f"{data}.yaml")["data"]["source"]
    text = text.replace("  source:  ", f"  source: {source}").replace(
        "declared_patients: ", "declared_patients: 4"
    )
    (path / "site.yaml").write_text(text.replace("reply_after_seconds: auto", "reply_after_seconds: off"))
    join_federation(path / "site.yaml", hub.invitation())
    return introduction


def open_workspace(folder: Path, tiny: TinyFederation) -> Path:
    """Return the tiny workspace with its noise left open, as `make prepare` leaves it."""
    folder.mkdir()
    for part in ("public", "weights", "manifests", "data", "sites"):
        (folder / part).symlink_to(tiny.workspace / part)
    study = tiny.study.model_dump(mode="json")
    study["privacy"]["noise_multiplier"] = None
    (folder / "study.yaml").write_text(json.dumps(study))
    return folder


@pytest.fixture(scope="module")
def made(tiny_federation: TinyFederation, tmp_path_factory: pytest.TempPathFactory) -> Federation:
    """Make the hub and both hospitals, and offer the study."""
    folder = tmp_path_factory.mktemp("parcel")
    hub = make_hub(folder / "hub", "tiny", "127.0.0.1:8443", Names.of([], ["127.0.0.1"]))
    with hub.sites() as sites:
        for name, data in (("north", "film"), ("south", "children")):
            sites.admit(hospital(folder / name, hub, tiny_federation, data))
    (hub.path / "studies").mkdir()
    workspace = open_workspace(folder / "workspace", tiny_federation)
    at_hub = Place(hub.path)
    done = at_hub.hub("study", "offer", workspace, *SET, "--out", folder / "tiny.study")
    assert done.exit_code == 0, done.output
    (offered,) = json.loads(at_hub.hub("study", "offers", "--json").stdout)
    assert offered["digest"] in done.stdout
    return Federation(
        at_hub, Place(folder / "north"), Place(folder / "south"), workspace, folder / "tiny.study", offered
    )


@pytest.fixture
def fresh(made: Federation, tmp_path: Path) -> Federation:
    """Return a copy of everything in which nothing was decided yet."""
    shutil.copytree(made.hub.path.parent, tmp_path / "f", symlinks=True)
    for name in ("north", "south"):
        file = tmp_path / "f" / name / "site.yaml"
        file.write_text(file.read_text().replace(str(made.hub.path.parent), str(tmp_path / "f")))
    at = tmp_path / "f"
    return Federation(
        Place(at / "hub"),
        Place(at / "north"),
        Place(at / "south"),
        made.workspace,
        at / "tiny.study",
        made.offered,
    )


def yes(federation: Federation) -> tuple[str, ...]:
    """Return the digests that a script types."""
    return "--yes-code", federation.offered["bundle"], "--yes-study", federation.offered["digest"]


def test_one_parcel_each_way_and_the_study_is_asked(
    fresh: Federation, tiny_federation: TinyFederation
) -> None:
    """Offer, take, accept, submit: one digest all the way, and both sites answer what is then asked."""
    for place in (fresh.north, fresh.south):
        done = place.take(fresh.parcel, typed="yes\nyes\n")
        assert done.exit_code == 0, done.output
        assert "THE CODE" in done.stdout
        assert tiny_federation.study.purpose in done.stdout
        assert "no difference" in done.stdout  # although `flwr build` rewrites pyproject.toml
        taken = fresh.hub.hub("study", "accept", place.answer)
        assert taken.exit_code == 0, taken.output
    (offered,) = json.loads(fresh.hub.hub("study", "offers", "--json").stdout)
    assert (sorted(offered["approved"]), offered["missing"]) == (["north", "south"], [])
    submitted = fresh.hub.submit(fresh.workspace, *SET)
    assert submitted.exit_code == 0, submitted.output
    assert "approved by: north, south" in submitted.stderr
    study = find_study(fresh.hub.path / "studies", None)
    asked = read_study(Path(str(study.run_config()["study"])))
    assert asked.digest() == fresh.offered["digest"] == study.read().study
    assert asked.privacy.noise_multiplier is not None
    for place in (fresh.north, fresh.south):
        assert "enrolment" in answer(place.site, tiny_federation.request("enrol", 0, study=asked))


def test_a_person_s_file_keeps_its_comments(fresh: Federation) -> None:
    """site.yaml gains the two digests and nothing else; weights have the bytes of the workspace's."""
    before = fresh.north.site_file.read_text().splitlines()
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    after = fresh.north.site_file.read_text().splitlines()
    gone, new = [one for one in before if one not in after], [one for one in after if one not in before]
    assert [line.partition(":")[0] for line in gone] == ["accepted_digests"]
    assert new[0].startswith("accepted_digests:")
    assert new[0].endswith("# weights that this hospital accepts: digest: public, or private-dp")
    assert len(new) == 3
    weights = fresh.north.site.config.weights_dir
    for path in weights.iterdir():
        assert path.read_bytes() == (fresh.workspace / "weights" / path.name).read_bytes()
    assert {path.stem for path in weights.iterdir()} == set(fresh.north.site.config.accepted_digests)
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0  # again: nothing more is decided
    assert len(fresh.north.site.approvals().entries) == 2


def test_what_a_person_has_said_of_weights_stays(fresh: Federation) -> None:
    """Weights listed as private-dp are not made public by a parcel."""
    digest = read_study(fresh.workspace / "study.yaml").models.teacher.sha256
    text = fresh.north.site_file.read_text()
    text = text.replace("accepted_digests: {}", f"accepted_digests: {{'{digest}': private-dp}}")
    fresh.north.site_file.write_text(f"{text}private_dp_spend: {{'{digest}': [0.5, 0.0000001]}}\n")
    done = fresh.north.take(fresh.parcel, *yes(fresh))
    assert done.exit_code == 0, done.output
    assert "listed in site.yaml as private-dp" in done.stdout
    assert fresh.north.site.config.accepted_digests[str(digest)] == "private-dp"


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


def test_an_answer_tells_nothing_of_patients(fresh: Federation) -> None:
    """Two patients withdraw before it: the answer's numbers are those of the decisions on code and study alone."""
    for name in ("somebody", "another"):
        fresh.north.says("forget", name, "--unseen")
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    told = ParcelAnswer.model_validate_json(fresh.north.answer.read_bytes())
    assert (told.number, told.signatures.number) == (2, 2)
    assert len(fresh.north.site.approvals().entries) == 4


def test_another_study_than_the_offered_is_not_submitted(fresh: Federation) -> None:
    """With other settings the hub says what was offered and how to ask it, before anybody is asked anything."""
    refused = fresh.hub.submit(fresh.workspace)
    assert refused.exit_code == 1
    assert f"offered was {fresh.offered['digest'][:12]}" in refused.stderr
    assert "--set federation.rounds=1 --set privacy.epsilon=7" in refused.stderr
    assert list((fresh.hub.path / "studies").iterdir()) == []
    assert fresh.hub.submit(fresh.workspace, "--not-offered").exit_code == 0


def test_studies_are_listed_and_withdrawn_by_their_first_digits(fresh: Federation) -> None:
    """`study list` says what is approved and until when; an ambiguous or unknown beginning withdraws nothing."""
    digest = fresh.offered["digest"]
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    (line,) = [one for one in fresh.north.says("study", "list").splitlines() if one.startswith(digest[:12])]
    assert line.split() == [digest[:12], "tiny", "2035-12-31", "approved,", "decision", "2"]
    words = ["study", "withdraw", "--site", str(fresh.north.site_file)]
    for typed in (digest[:5], "f" * 63 if digest[0] != "f" else "0" * 63, "study.yaml"):
        assert CliRunner().invoke(site_app, [*words, typed]).exit_code == 1
    assert fresh.north.site.approves_study(digest)
    fresh.north.says("study", "withdraw", digest[:6])
    assert not fresh.north.site.approves_study(digest)
    assert "withdrawn, decision 3" in fresh.north.says("study", "list")


def test_a_backup_holds_offers_and_answers(fresh: Federation, tmp_path: Path) -> None:
    """Put back elsewhere, the hub still knows who approved what, and has the bundle."""
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    assert fresh.hub.hub("study", "accept", fresh.north.answer).exit_code == 0
    from server.hub_backup import back_up_hub, restore_hub  # noqa: PLC0415 - scrypt's memory, for this test alone

    back_up_hub(HubFolder(fresh.hub.path), tmp_path / "hub.sealed", "twelve mild winters")
    back = restore_hub(tmp_path / "hub.sealed", tmp_path / "back", "twelve mild winters")
    (offered,) = json.loads(Place(back.path).hub("study", "offers", "--json").stdout)
    assert list(offered["approved"]) == ["north"]
    assert Registry(back.path / "registry").bundle_file(offered["bundle"]).is_file()


def test_introductions_are_those_that_were_admitted(fresh: Federation) -> None:
    """The copies that these tests work on are the same hospitals as the hub admitted."""
    with HubFolder(fresh.hub.path).sites() as sites:
        known = {row.name: row.fingerprint for row in sites.admitted()}
    for place in (fresh.north, fresh.south):
        found = read_introduction(place.path / f"{place.path.name}.pub")
        assert known[found.site] == found.fingerprint()


def test_setup_reads_classes_in_the_parcel_before_it_is_taken(fresh: Federation) -> None:
    """A site.yaml as `init` and `join` left it is filled in by the parcel's study; a foreign hub's is not believed."""
    site = fresh.north.site_file
    source = fresh.north.site.config.data.source
    text = (
        site.read_text()
        .replace(f"source: {source}", "source:")
        .replace("declared_patients: 4", "declared_patients:")
    )
    site.write_text(text)
    words = ["setup", str(site), "--study", str(fresh.parcel), "--source", str(source)]
    words += ["--rows-of", "film", "--declared", "4", "--yes"]
    done = CliRunner().invoke(site_app, words)
    assert done.exit_code == 0, done.output
    assert f"rounds-site study take {fresh.parcel}" in " ".join(done.output.split())
    assert fresh.north.site.config.declared_patients == 4
    altered = fresh.parcel.with_name("altered.study")
    content = bytearray(fresh.parcel.read_bytes())
    content[200] ^= 1
    altered.write_bytes(bytes(content))
    refused = CliRunner().invoke(site_app, [*words[:3], str(altered), *words[4:]])
    assert refused.exit_code == 1


def test_check_takes_the_study_that_was_approved_last(fresh: Federation) -> None:
    """Without a study `check` asks about the parcel's once it is taken, and says what to do before."""
    words = ["check", str(fresh.north.site_file), "--offline"]
    before = CliRunner().invoke(site_app, words)
    assert before.exit_code == 1
    assert isinstance(before.exception, ConfigError | SystemExit)
    digests = ("--yes-code", fresh.offered["bundle"], "--yes-study", fresh.offered["digest"])
    taken = fresh.north.take(fresh.parcel, *digests)
    assert taken.exit_code == 0, taken.output
    after = CliRunner().invoke(site_app, words)
    assert "ok  approval: " in after.output
    assert "ready for tiny" in after.output.lower()
