"""One parcel each way: offered at a hub, taken at two hospitals, accepted, and asked as it was offered."""

import json
from pathlib import Path

from typer.testing import CliRunner

from client.cli.program import app as site_app
from client.rounds.answer import answer
from server.connections.connections import gather
from server.connections.next_steps import Known
from server.hub.bundle_registry import Registry
from server.hub.hub_folder import HubFolder, open_hub
from server.studies.submissions import find_study
from shared.config.files import read_study
from shared.errors import ConfigError
from shared.trust.parcel_answer import ParcelAnswer
from tests.conftest import TinyFederation
from tests.system.parcels import SET, Federation, Place, yes


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


def test_an_answer_tells_nothing_of_patients(fresh: Federation) -> None:
    """Two patients withdraw before it: the answer's numbers are those of the decisions on code and study alone."""
    for name in ("somebody", "another"):
        fresh.north.says("forget", name, "--unseen")
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    told = ParcelAnswer.model_validate_json(fresh.north.answer.read_bytes())
    assert (told.number, told.signatures.number) == (2, 2)
    assert len(fresh.north.site.approvals().entries) == 4


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
    from server.services.hub_backup import back_up_hub, restore_hub  # noqa: PLC0415 - scrypt's memory, for this test alone

    back_up_hub(HubFolder(fresh.hub.path), tmp_path / "hub.sealed", "twelve mild winters")
    back = restore_hub(tmp_path / "hub.sealed", tmp_path / "back", "twelve mild winters")
    (offered,) = json.loads(Place(back.path).hub("study", "offers", "--json").stdout)
    assert list(offered["approved"]) == ["north"]
    assert Registry(back.path / "registry").bundle_file(offered["bundle"]).is_file()


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


def test_a_signed_answer_stands_on_the_page_of_connections(fresh: Federation) -> None:
    """The hub knows of an approval by the answer alone, before any study is submitted."""
    assert fresh.north.take(fresh.parcel, *yes(fresh)).exit_code == 0
    assert fresh.hub.hub("study", "accept", fresh.north.answer).exit_code == 0
    facts = {one.facts.site: one.facts for one in gather(open_hub(fresh.hub.path)).sites}
    assert (facts["north"].study, facts["north"].code.word) == (Known("yes", "signed answer"), "yes")
    assert (facts["south"].study.word, facts["south"].code.word) == ("not said", "not said")
