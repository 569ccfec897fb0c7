"""Enrolment with real sites: who takes part, under which name, and why others do not."""

from pathlib import Path
from typing import Any

import pytest

from server.rounds.enrolment import enrol_sites
from server.runs.run_folder import RunFolder, read_lines
from shared.errors import StudyError

SITES = ("bedside", "children", "film")
UID = "0" * 32


def events(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    """Return the events of one kind."""
    return [line for line in read_lines(folder.events) if line["event"] == name]


def test_too_few_sites_enrol(tiny_federation, tmp_path: Path) -> None:
    """A site whose data is bad is only known not to be ready; below min_sites the study does not begin."""
    folder = RunFolder(tmp_path)
    sites = tiny_federation.sites(tmp_path / "state", film={"data": {"source": str(tmp_path / "secret.csv")}})
    with pytest.raises(StudyError, match=r"federation\.min_sites is 3: 2 of 3 connected sites enrolled"):
        enrol_sites(tiny_federation.study, UID, tiny_federation.hospitals(sites), folder)
    (refused,) = events(folder, "not_enrolled")
    assert (refused["why"], refused["node"]) == ("answered not_ready", str(SITES.index("film")))
    assert "secret" not in folder.events.read_text()
    assert sorted(line["site"] for line in events(folder, "enrolled")) == ["bedside", "children"]


def test_two_nodes_of_one_name(tiny_federation, tmp_path: Path) -> None:
    """A second node under a name that is taken does not enrol."""
    folder = RunFolder(tmp_path)
    twins = {name: tiny_federation.site("film", tmp_path / name) for name in SITES}
    with pytest.raises(StudyError, match="1 of 3 connected sites enrolled"):
        enrol_sites(tiny_federation.study, UID, tiny_federation.hospitals(twins), folder)
    assert all("two nodes enrol under this name" in line["why"] for line in events(folder, "not_enrolled"))


def test_a_site_enrols_under_the_name_its_key_was_admitted_under(tiny_federation, tmp_path: Path) -> None:
    """A node that gives another hospital's name does not enrol, and cannot keep that hospital out by it."""
    folder = RunFolder(tmp_path)
    as_named = {name: tiny_federation.site(name, tmp_path / name) for name in SITES}
    exchange = tiny_federation.hospitals(as_named | {"liar": tiny_federation.site("film", tmp_path / "liar")})
    exchange.names = {0: "bedside", 1: "children", 2: "film", 3: "liar"}
    enrol_sites(tiny_federation.study, UID, exchange, folder)
    assert sorted(line["site"] for line in events(folder, "enrolled")) == list(SITES)
    (refused,) = events(folder, "not_enrolled")
    assert refused["why"] == ("site film: its node key was admitted as 'liar'; correct name in its site.yaml")
    assert refused["site"] == "liar"


@pytest.mark.parametrize("admitted", [True, False])
def test_a_silent_node_is_named(tiny_federation, tmp_path: Path, admitted: bool) -> None:
    """A node without an answer by the deadline is an event, under its admitted name where it has one."""
    folder = RunFolder(tmp_path)
    exchange = tiny_federation.hospitals(
        tiny_federation.sites(tmp_path / "state"),
        lambda name, _kind, parts: None if name == "film" else parts,
    )
    exchange.names = dict(enumerate(SITES)) if admitted else {}
    with pytest.raises(StudyError, match="2 of 3 connected sites enrolled"):
        enrol_sites(tiny_federation.study, UID, exchange, folder)
    (silent,) = events(folder, "not_enrolled")
    assert silent["why"] == "no answer by the deadline"
    assert (silent.get("site"), silent.get("node")) == (("film", None) if admitted else (None, "2"))
