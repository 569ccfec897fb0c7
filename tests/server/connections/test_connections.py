"""What the hub knows of each site: from real files, the same for the command line and the page, and never a guess."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from server.cli.program import app
from server.connections.connections import Connection, Connections, gather
from server.connections.site_answers import ACCEPTED, SOURCES, Said, SiteAnswer
from server.hub.admitted_sites import read_sites
from server.hub.hub_state import Node
from server.runs.run_folder import RunFolder
from shared.errors import ConfigError
from tests.connected_hub import AWAY, NODES_NOW, STUDY, ConnectedHub, new_hub, whole_hub


@pytest.fixture
def whole(tmp_path: Path) -> ConnectedHub:
    return whole_hub(tmp_path)


@pytest.fixture
def one(tmp_path: Path) -> ConnectedHub:
    """Return a hub with the site north, which nobody knows anything else of."""
    hub = new_hub(tmp_path)
    hub.admit("north")
    return hub


def site(found: Connections, name: str) -> Connection:
    (only,) = [one for one in found.sites if one.facts.site == name]
    return only


def test_each_hospital_stands_as_it_is(whole: ConnectedHub) -> None:
    """Standing, connection, app bundle, study, data, last answer and turn of a hospital in each state."""
    found = gather(whole.hub)

    def line(one: Connection) -> tuple[str, ...]:
        facts = one.facts
        last = "" if facts.answer is None else f"{facts.answer.stage}: {facts.answer.outcome}"
        said = (facts.code.word, facts.study.word, facts.data.word)
        return (facts.standing, facts.connection, *said, last, one.turn)

    assert {one.facts.site: line(one) for one in found.sites} == {
        "coast": ("admitted", "never came", "not said", "not said", "not said", "", "hospital"),
        "east": ("admitted", "offline", "yes", "not said", "not said", "", "hospital"),
        "hill": ("admitted", "online", "no", "yes", "yes", "round 1: budget_spent", "hospital"),
        "north": ("admitted", "online", "yes", "yes", "yes", "round 1: accepted", "nobody"),
        "south": ("admitted", "online", "yes", "no", "not said", "enrolment: study_not_approved", "hospital"),
        "west": ("removed", "", "not said", "not said", "not said", "", "nobody"),
        "island": ("invited", "", "not said", "not said", "not said", "", "hospital"),
    }
    assert site(found, "east").facts.last_seen == datetime.fromisoformat(AWAY)
    assert site(found, "hill").facts.code.how == "1.0.0, not the newest"
    assert found.finding == "5 admitted, 1 invited, 3 online; it is the hospital's turn at 5."


def test_every_site_has_one_sentence_on_what_to_do(whole: ConnectedHub) -> None:
    """The next step names the command, and is the first of what is missing."""
    found = gather(whole.hub)
    assert site(found, "coast").missing == ("approval of the app bundle", "connection", "answer")
    for name, words in {
        "coast": "`rounds-site study take`",
        "east": "`rounds-site run site.yaml`",
        "south": "study_not_approved: the hospital has not approved just this study",
        "island": "`rounds-hub admit island.pub`",
        "north": f"Nothing to do: it takes part in {STUDY}, last in round 1.",
    }.items():
        sentence = site(found, name).next_step
        assert words in sentence
        assert sentence.endswith(".")
        assert "\n" not in sentence


def test_command_line_and_page_say_the_same(whole: ConnectedHub) -> None:
    """`rounds-hub sites`, as a table and as JSON, is what was gathered."""
    found = gather(whole.hub)
    words = ["sites", "--hub", str(whole.hub.path)]
    told = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert [(one["name"], one["turn"], one["next_step"]) for one in told["sites"]] == [
        (one.facts.site, one.turn, one.next_step) for one in found.sites
    ]
    lines = CliRunner().invoke(app, words).stdout.splitlines()
    assert f"island: {site(found, 'island').next_step}" in lines
    east = next(line.split() for line in lines if line.startswith("east "))
    assert east[3:7] == ["offline", "since", "2026-11-20", "18:30"]


@pytest.mark.parametrize(
    ("prepare", "turn", "what"),
    [
        (lambda _: None, "hub", "Offer the study and its code"),
        (lambda hub: hub.add_bundle("1.0.0"), "hospital", "It looks at bundle 1.0.0"),
        (lambda hub: hub.sign_in("north", hub.add_bundle("1.0.0")), "hub", "Start the hub with"),
    ],
    ids=["no bundle", "not signed", "not serving"],
)
def test_the_steps_come_in_their_order(
    one: ConnectedHub, prepare: Callable[[ConnectedHub], None], turn: str, what: str
) -> None:
    """What comes first in deploy/README.md is said first, with whose turn it is."""
    prepare(one)
    north = site(gather(one.hub), "north")
    assert (north.turn, what in north.next_step) == (turn, True), north.next_step


def signed(one: ConnectedHub) -> None:
    one.sign_in("north", one.add_bundle("1.0.0"))


def test_a_key_that_the_superlink_does_not_know_is_the_hubs_turn(one: ConnectedHub) -> None:
    """A running SuperLink without the site's registration; then without any study."""
    signed(one)
    one.serving({})
    assert site(gather(one.hub), "north").next_step.endswith("tell it with `rounds-hub register`.")
    one.serving({"north": Node("online")})
    assert "No study was submitted yet" in site(gather(one.hub), "north").next_step


def test_nobody_is_called_online_by_a_hub_that_is_silent(one: ConnectedHub) -> None:
    """A dead SuperLink, services that died without a word, a damaged file: each is a sentence, no site is online."""
    for break_it, said in (
        (lambda: one.serving(None), "SuperLink does not answer"),
        (lambda: one.serving(NODES_NOW, timedelta(minutes=2)), "silent for a while"),
        (lambda: one.hub.status.write_text("{"), "silent for a while"),
        (one.hub.status.unlink, "is not serving"),
    ):
        break_it()
        found = gather(one.hub)
        assert said in found.hub.why
        assert site(found, "north").facts.connection == "not known"


def test_a_refusal_that_the_hospital_mended_is_the_hubs_turn(whole: ConnectedHub) -> None:
    """After a new signature and an approval outside of a run the hub is told to ask again."""
    study = whole.submit("lungs-20261121-080000", "failed")
    record = study.folder.record_event
    record("not_enrolled", site="east", why="answered code_not_approved")
    record("not_enrolled", site="south", why="answered study_not_approved")
    east = site(gather(whole.hub), "east")
    assert (east.facts.code.word, east.facts.code.how) == ("no", "refused in enrolment")
    digest = whole.add_bundle("1.2.0")
    whole.sign_in("east", digest, signed_at=datetime.now(UTC) + timedelta(seconds=2))
    whole.sign_in("south", digest)
    whole.serving(NODES_NOW | {"east": Node("online")})
    assert site(gather(whole.hub), "east").next_step == (
        "It has approved since; ask it again with `rounds-hub study resume lungs-20261121-080000`."
    )
    later = (datetime.now(UTC) + timedelta(seconds=2)).isoformat(timespec="milliseconds")
    paper = SiteAnswer("south", study.path.name, later, approval=Said(yes=True, how="signed answer"))
    south = site(gather(whole.hub, sources=(*SOURCES, lambda _: [paper])), "south")
    assert (south.facts.study.word, south.facts.study.how) == ("yes", "signed answer")
    assert (south.turn, "ask it again" in south.next_step) == ("hub", True)
    assert south.facts.answer is not None
    assert south.facts.answer.outcome == "study_not_approved", "what it answered in the run stays what it was"


def test_an_approval_of_another_study_is_none_of_this_one(whole: ConnectedHub) -> None:
    """The last word counts; what was said of an earlier study is not carried over."""
    study = whole.submit("lungs-20261122-080000")
    study.folder.record_event("not_enrolled", site="north", why="answered not_ready")
    north = site(gather(whole.hub), "north").facts
    assert (north.study.word, north.data.word) == ("not said", "no")


def test_a_site_that_answers_later_keeps_what_it_approved(whole: ConnectedHub) -> None:
    """A missed round says nothing of study and data: they stay as the enrolment said."""
    study = whole.submit("lungs-20261123-080000")
    study.folder.record_event("enrolled", site="north", declared_patients=600)
    study.folder.record_event("deadline", site="north", round=1)
    north = site(gather(whole.hub), "north").facts
    assert (north.study.how, north.data.how) == ("enrolment", "enrolment")
    assert north.answer is not None
    assert north.answer.outcome == "no answer by the deadline"


def test_simulated_hospitals_are_no_sites(whole: ConnectedHub) -> None:
    """Names of a workspace's made hospitals, also in a study's records, are not shown as hospitals."""
    made = whole.hub.path / "workspace" / "sites"
    made.mkdir(parents=True)
    (made / "bedside.yaml").write_text("name: bedside\n")
    whole.submit("lungs-20261124-080000").folder.record_event(
        "enrolled", site="bedside", declared_patients=600
    )
    assert "bedside" not in [one.facts.site for one in gather(whole.hub).sites]


def test_signatures_of_a_former_key_do_not_count(one: ConnectedHub) -> None:
    """After keys were made anew the old file approves nothing for the site."""
    signed(one)
    assert site(gather(one.hub), "north").facts.code.word == "yes"
    one.remove("north")
    one.admit("north")
    back = [found for found in gather(one.hub).sites if found.facts.standing == "admitted"]
    assert [found.facts.code.word for found in back] == ["no"]
    gone = next(found for found in gather(one.hub).sites if found.facts.standing == "removed")
    assert gone.next_step == "Nothing to do: it was removed, it is back with new keys."


def test_looking_changes_nothing(whole: ConnectedHub) -> None:
    """No file of the hub is made, changed or touched by gathering, and a list that is missing is a sentence."""

    def state() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_mtime_ns, path.stat().st_size)
            for path in whole.hub.path.rglob("*")
            if path.is_file()
        }

    before = state()
    gather(whole.hub)
    assert state() == before
    whole.hub.sites_file.unlink()
    with pytest.raises(ConfigError, match=r"sites\.sqlite: cannot be read"):
        gather(whole.hub)
    assert not whole.hub.sites_file.exists()


def test_a_damaged_part_costs_that_part_alone(whole: ConnectedHub) -> None:
    """A damaged signatures file or submission is a note; sites and their connections stay."""
    (whole.hub.registry / "signatures" / "north.json").write_text("{")
    (whole.hub.studies / STUDY / "submission.json").write_text("{")
    found = gather(whole.hub)
    assert len(found.notes) == 2
    assert site(found, "north").facts.connection == "online"


def test_a_certificate_that_ends_is_told(whole: ConnectedHub) -> None:
    """Thirty days before its end it ends soon, afterwards it has ended."""
    hub = gather(whole.hub).certificates[0]
    words = [
        gather(whole.hub, now=hub.ends + timedelta(days=days)).certificates[0].word for days in (-40, -20, 1)
    ]
    assert words == ["holds", "ends soon", "ended"]


def test_who_is_invited_is_written_down(tmp_path: Path) -> None:
    """`rounds-hub invite --site` names who was sent the file; admitted, the name is no longer invited."""
    one = new_hub(tmp_path)
    hub = ["--hub", str(one.hub.path)]
    assert CliRunner().invoke(app, ["invite", "--site", "north", "--site", "south", *hub]).exit_code == 0
    one.admit("north")
    assert [found.facts.standing for found in gather(one.hub).sites] == ["admitted", "invited"]
    refused = CliRunner().invoke(app, ["invite", "--site", "../north", *hub])
    assert (refused.exit_code, "site is '../north'" in refused.stderr) == (1, True)
    assert [name.name for name in read_sites(one.hub.sites_file)[1]] == ["north", "south"]


def test_a_long_study_is_read_from_its_end(one: ConnectedHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the newest events are read; a line that is cut in two is left out."""
    monkeypatch.setattr("server.connections.site_answers._MOST_BYTES", 400)
    study = one.submit()
    for number in range(1, 101):
        study.folder.record_event("answered", round=number, site="north", outcome=ACCEPTED)
    north = site(gather(one.hub), "north").facts
    assert north.answer is not None
    assert north.answer.round == 100
    assert RunFolder(study.path).events.stat().st_size > 4000
