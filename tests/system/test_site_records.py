"""The student made once more from what the sites' ledgers stored is the hub's, and no other stored bytes make it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from server.rounds.study import run_study
from server.runs.checkpoints import StudyState
from server.runs.run_folder import RunFolder
from shared.config.site import SiteConfig
from shared.config.study import StudyConfig
from shared.models.arrays import Arrays, arrays_digest
from tests.conftest import SITES
from tests.system.site_records import ClosedRound, charged, closed_rounds, student_of


@dataclass(frozen=True)
class Done:
    """A study that is over, with momentum at the hub and updates that travelled as float16."""

    study: StudyConfig
    initial: Arrays
    folder: RunFolder
    sites: dict[str, SiteConfig]
    state: StudyState

    def student(self, rounds: list[ClosedRound] | None = None, initial: Arrays | None = None) -> str:
        """Return the digest of the student of these rounds."""
        rounds = closed_rounds(self.folder) if rounds is None else rounds
        return arrays_digest(
            student_of(self.study, initial or self.initial, rounds, self.sites, self.state.study_uid)
        )


@pytest.fixture(scope="module")
def done(tiny_federation: Any, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Run a study in which film is silent in round 1."""
    folder = RunFolder(tmp_path_factory.mktemp("done"))
    study = tiny_federation.changed(federation={"server_momentum": 0.5, "update_values": "float16"})
    rules = {name: {"declared_patients": number} for name, number in zip(SITES, (4, 6, 9), strict=True)}
    sites = tiny_federation.sites(folder.path / "state", **rules)

    def silent(name: str, kind: str, parts: dict[str, bytes]) -> dict[str, bytes] | None:
        trained = [one for one, one_kind, *_ in hospitals.asked if (one, one_kind) == ("film", "train")]
        return None if (name, kind, trained) == ("film", "train", []) else parts

    hospitals = tiny_federation.hospitals(sites, silent)
    state = run_study(study, tiny_federation.initial, hospitals, folder, lambda _: {})
    return Done(study, tiny_federation.initial, folder, {n: s.config for n, s in sites.items()}, state)


def test_the_stored_updates_make_the_hub_s_student(done: Done) -> None:
    """Bit for bit, with momentum, public weights and a site that is missing in one round."""
    assert [one.answered for one in closed_rounds(done.folder)] == [SITES[:2], SITES]
    assert done.student() == arrays_digest(done.state.weights) != arrays_digest(done.initial)


def without(name: str) -> Callable[[list[ClosedRound]], list[ClosedRound]]:
    """Leave a site's update of the last round out."""
    return lambda rounds: [
        *rounds[:-1],
        replace(rounds[-1], answered=tuple(one for one in rounds[-1].answered if one != name)),
    ]


@pytest.mark.parametrize(
    "change",
    [without("film"), without("bedside"), lambda rounds: rounds[:1]],
    ids=["film", "bedside", "a round"],
)
def test_another_set_of_updates_makes_another_student(done: Done, change: Callable) -> None:
    """Each update counts: without one the digest is another."""
    assert done.student(change(closed_rounds(done.folder))) != arrays_digest(done.state.weights)


def test_an_update_made_from_other_weights_is_told(done: Done) -> None:
    """Updates belong to the weights that they were made from; a ledger without one is told, too."""
    rounds = closed_rounds(done.folder)
    other = {name: array + 1 for name, array in done.initial.items()}
    with pytest.raises(ValueError, match="bedside, round 1: its update was made from other weights"):
        done.student(initial=other)
    with pytest.raises(ValueError, match="bedside, round 3: its ledger holds no update"):
        done.student([*rounds, replace(rounds[-1], number=3)])


def test_a_late_site_is_charged_like_the_others(done: Done) -> None:
    """A ledger charges each request once, also one whose answer the hub never took."""
    rows = {name: charged(config, done.state.study_uid) for name, config in done.sites.items()}
    assert [row[:3] for row in rows["film"]] == [
        (number, "train", kind) for number in (1, 2) for kind in ("commit", "reserve")
    ]
    assert rows["film"] == rows["bedside"] == rows["children"]
    assert charged(done.sites["film"], "0" * 32) == []
