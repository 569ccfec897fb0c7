"""An answer after the deadline: nothing of it is used, the records name it, and the site's ledger has charged it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Message

from client.rounds.answer import answer
from client.site.site import Site
from server.evaluation.run_records import _events
from server.rounds.exchange import Exchange
from server.rounds.study import run_study
from server.runs.checkpoints import StudyState
from server.runs.run_folder import RunFolder, read_lines
from server.store.intake.outbox import Outbox
from shared.messages.requests import decode_request
from tests.conftest import SITES
from tests.flower_nodes import payload_of
from tests.system.site_records import closed_rounds, stored_updates

DEADLINE_SECONDS = 2.0  # what came by then counts, also where the hub was busy until later


@dataclass(frozen=True)
class Late:
    """A study of two rounds in which film answered its first request when it had the second."""

    folder: RunFolder
    sites: dict[str, Site]
    state: StudyState
    initial: Any


@pytest.fixture
def late(flower: Callable, tiny_federation: Any, tmp_path: Path) -> Late:
    """Run the study over Flower's own Grid."""
    grid, folder, sites = flower(3), RunFolder(tmp_path), tiny_federation.sites(tmp_path / "state")
    waiting: list[Message] = []

    def behaves(site: Site) -> Callable[[Message], Any]:
        def reply(request: Message) -> Any:
            asked = decode_request(payload_of(request)).header
            if (site.config.name, asked.kind, asked.round) == ("film", "train", 1):
                waiting.append(request)
                return None
            while site.config.name == "film" and waiting:
                one = waiting.pop()
                assert grid.reply(one, answer(site, payload_of(one)))
            return answer(site, payload_of(request))

        return reply

    grid.behaviour = {node: behaves(site) for node, site in zip(grid.nodes, sites.values(), strict=True)}
    study = tiny_federation.changed(federation={"quorum": 2, "deadline_seconds": DEADLINE_SECONDS})
    state = run_study(study, tiny_federation.initial, Exchange(grid), folder, lambda _: {})
    return Late(folder, sites, state, tiny_federation.initial)


def test_a_late_update_is_discarded_named_and_charged(late: Late) -> None:
    """The round closes without it; events and summary say so; two rounds are spent; its numbers are in no student."""
    closed = closed_rounds(late.folder)
    assert [one.answered for one in closed] == [("bedside", "children"), SITES]
    (told,) = [line for line in read_lines(late.folder.events) if line["event"] == "late"]
    assert (told["round"], told["kind"], told["site"]) == (1, "train", "film")
    assert [(one.round, one.site, one.code) for one in _events(late.folder)] == [
        (1, "film", "deadline"), (1, "film", "late"),
    ]  # fmt: skip
    audited = map(json.loads, Outbox(late.folder.path).bodies(late.state.study_uid, ["event"]))
    assert [(one["event"], one["round"], one["site"]) for one in audited] == [("late", 1, "film")]
    with late.sites["film"].ledger() as ledger:
        assert len(ledger.mechanisms("train")) == 2
        assert ledger.verify() == 6  # enrolment and two rounds, each reserved and answered
    _, first, second = read_lines(late.folder.rounds)
    assert told["epsilon"] == pytest.approx(first["epsilon"]["bedside"])
    assert second["epsilon"]["film"] == pytest.approx(second["epsilon"]["bedside"])
    expected = {name: array.astype(np.float64) for name, array in late.initial.items()}
    for one in closed:
        updates = [
            stored_updates(late.sites[name].config, late.state.study_uid, late.initial)[one.number].arrays
            for name in one.answered
        ]
        for name, array in expected.items():
            array[...] += np.mean([update[name] for update in updates], axis=0)
    for name, array in late.state.weights.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)
