"""A node that failed is sent the same request once more, and what its site pays for that: nothing."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.app import Error, Message
from flwr.common.constant import ErrorCode as FlowerErrorCode

from client.rounds.answer import accepted_study, answer, failure, reserve
from client.site.site import Site
from server.evaluation.run_records import _events
from server.rounds.exchange import Answer, Exchange
from server.rounds.study import run_study
from server.runs.run_folder import RunFolder, read_lines
from shared.errors import ErrorCode, StudyError
from shared.messages.requests import decode_request
from shared.messages.stages import training_mechanism
from tests.conftest import SITES

SECONDS = 20.0  # far more than any of this takes
CRASHED = Error(code=8, reason="killed")


def payload_of(request: Message) -> bytes:
    (array,) = request.content.array_records["payload"].values()
    payload: bytes = array.numpy().tobytes()
    return payload


def echo(request: Message) -> dict[str, bytes]:
    return {"update": payload_of(request)}


def ask(grid: Any, enough: bool = True, seconds: float = SECONDS) -> list[Answer]:
    payloads = {node: str(node).encode() for node in grid.nodes}
    return list(Exchange(grid).ask("train", payloads, seconds, enough=lambda: enough))


def echoed(node: int) -> Answer:
    return Answer(node, {"update": str(node).encode()}, len(str(node)))


def failing(times: int) -> Callable[[Message], Any]:
    """Fail so many times, then answer."""
    left = iter([CRASHED] * times)
    return lambda request: next(left, None) or echo(request)


def test_a_failed_node_is_asked_once_more(flower: Callable) -> None:
    """A node that crashed gets the same bytes again, the hub is told, and the second answer is the answer."""
    grid = flower(1)
    (node,) = grid.nodes
    grid.behaviour[node] = failing(1)
    assert ask(grid) == [Answer(node, None, asked_again=True), echoed(node)]
    assert grid.received == [(node, "train", str(node).encode())] * 2


def test_a_node_is_asked_twice_at_most(flower: Callable) -> None:
    """A node that fails again has failed, at once and for good, and the others are heard."""
    grid = flower(2)
    bad, well = grid.nodes
    grid.behaviour = {bad: failing(9), well: echo}
    started = time.monotonic()
    answers = ask(grid)
    assert time.monotonic() - started < SECONDS
    assert sorted(answers, key=lambda one: (one.node_id != bad, not one.asked_again)) == [
        Answer(bad, None, asked_again=True), Answer(bad, None), echoed(well),
    ]  # fmt: skip
    assert [node for node, *_ in grid.received].count(bad) == 2


@pytest.mark.parametrize("said", [{}, failure(ErrorCode.FAILED), {"update": b"garbage"}])
def test_a_site_that_answered_is_not_asked_again(flower: Callable, said: dict[str, bytes]) -> None:
    """What a site itself said, a refusal too, is its answer: the same request would bring the same."""
    grid = flower(1)
    grid.behaviour[grid.nodes[0]] = lambda _: said
    assert [(one.parts, one.asked_again) for one in ask(grid)] == [(said, False)]
    assert len(grid.received) == 1


def test_a_node_that_began_anew_is_asked_again(flower: Callable) -> None:
    """A node that took the request and was started again before it answered has lost it, and gets it again."""
    grid = flower(1)
    (node,) = grid.nodes

    def restarted(_request: Message) -> None:
        grid.state.deactivate_node(node)
        grid.state.activate_node(node, 30.0)
        grid.behaviour[node] = echo

    grid.behaviour[node] = restarted
    assert ask(grid) == [Answer(node, None, asked_again=True), echoed(node)]


def comes_back(grid: Any, node: int, look: int) -> None:
    """Connect a node again when the hub looks for the given time who is there."""
    looks, connected = iter(range(look)), grid.get_nodes

    def look_again() -> Any:
        if next(looks, None) is None:
            grid.state.activate_node(node, 30.0)
        return connected()

    grid.get_nodes = look_again


def test_a_node_that_comes_back_is_asked_again(flower: Callable) -> None:
    """A node that was gone is asked again once it is connected, while the stage still waits for another."""
    grid = flower(2)
    gone, slow = grid.nodes
    grid.state.deactivate_node(gone)
    held: list[Message] = []

    def back(request: Message) -> dict[str, bytes]:
        assert grid.reply(held[0], echo(held[0]))
        return echo(request)

    grid.behaviour = {slow: held.append, gone: back}
    comes_back(grid, gone, look=3)
    first, *answers = ask(grid)
    assert first == Answer(gone, None, asked_again=True)
    assert sorted(one.node_id for one in answers) == sorted(grid.nodes)
    assert all(one == echoed(one.node_id) for one in answers)


def test_nothing_waits_for_a_node_that_is_gone(flower: Callable) -> None:
    """With enough answers a stage ends without the node that is gone, long before the deadline."""
    grid = flower(2)
    gone, well = grid.nodes
    grid.state.deactivate_node(gone)
    grid.behaviour = {well: echo}
    started = time.monotonic()
    assert sorted(ask(grid), key=lambda one: one.node_id == gone) == [echoed(well), Answer(gone, None)]
    assert time.monotonic() - started < SECONDS / 2


def test_without_enough_a_node_that_is_gone_is_waited_for(flower: Callable) -> None:
    """A stage that has too few answers gives a node that is gone until the deadline to come back."""
    grid = flower(1)
    (gone,) = grid.nodes
    grid.state.deactivate_node(gone)
    assert ask(grid, enough=False, seconds=0.5) == [Answer(gone, None)]
    grid.behaviour[gone] = echo
    comes_back(grid, gone, look=3)
    assert ask(grid, enough=False) == [Answer(gone, None, asked_again=True), echoed(gone)]


def before(_site: Site, _request: Message) -> None:
    """Die before the request is read."""


def computing(site: Site, request: Message) -> None:
    """Die between the ledger's reservation and the answer."""
    asked = decode_request(payload_of(request))
    with site.ledger() as ledger:
        mechanism = training_mechanism(accepted_study(site, asked))
        assert reserve(site, ledger, asked, mechanism, "train").stored is None


def sending(site: Site, request: Message) -> None:
    """Die when the answer is stored and nothing of it has left."""
    assert "update" in answer(site, payload_of(request))


class Deaths:
    """Real sites over Flower's Grid; film's process dies in training, so many times, and keeps what it sends."""

    def __init__(self, grid: Any, sites: dict[str, Site], death: Callable, times: int) -> None:
        self.left = iter([death] * times)
        self.sent: list[bytes] = []
        for node, site in zip(grid.nodes, sites.values(), strict=True):
            grid.behaviour[node] = self.behaviour(site)

    def behaviour(self, site: Site) -> Callable[[Message], Any]:
        def behave(request: Message) -> Any:
            mine = site.config.name == "film" and request.metadata.message_type == "train"
            if mine and (death := next(self.left, None)):
                death(site, request)
                return CRASHED
            parts = answer(site, payload_of(request))
            self.sent += [parts["update"]] if mine else []
            return parts

        return behave


def score(_weights: Any) -> dict[str, Any]:
    return {}


@pytest.mark.parametrize("death", [before, computing, sending])
def test_asking_again_is_charged_once(
    flower: Callable, tiny_federation: Any, tmp_path: Path, death: Callable
) -> None:
    """Wherever a site's process died, the second request completes the round for the price of one."""
    grid, folder = flower(3), RunFolder(tmp_path)
    sites = tiny_federation.sites(tmp_path / "state")
    deaths = Deaths(grid, sites, death, 1)
    study = tiny_federation.changed(federation={"rounds": 1, "quorum": 3})
    run_study(study, tiny_federation.initial, Exchange(grid), folder, score)
    _, record = read_lines(folder.rounds)
    assert (record["answered"], record["missing"], record["asked_again"]) == ([*SITES], {}, ["film"])
    assert len(set(record["epsilon"].values())) == 1
    for site in sites.values():
        with site.ledger() as ledger:
            assert len(ledger.mechanisms("train")) == 1
            assert ledger.verify() == 4  # enrolment and round, each one reservation and one answer
    assert [(one.round, one.site, one.code) for one in _events(folder)] == [(1, "film", "asked_again")]
    first = {payload for node, message_type, payload in grid.received if message_type == "train"}
    assert len(first) == 1  # the same request, to everybody and again
    assert deaths.sent == [answer(sites["film"], first.pop())["update"]]  # and one answer, for ever


def test_a_site_that_stays_dead_counts_against_the_quorum(
    flower: Callable, tiny_federation: Any, tmp_path: Path
) -> None:
    """A site that failed twice is missing by name; below the quorum the study stops, and resumes at no more cost."""
    grid, folder = flower(3), RunFolder(tmp_path)
    sites = tiny_federation.sites(tmp_path / "state")
    Deaths(grid, sites, sending, 2)
    study = tiny_federation.changed(federation={"rounds": 1, "quorum": 3})
    with pytest.raises(StudyError, match=r"federation\.quorum is 3: 2 of 3 sites"):
        run_study(study, tiny_federation.initial, Exchange(grid), folder, score)
    asked = [node for node, message_type, _ in grid.received if message_type == "train"]
    assert [asked.count(node) for node in grid.nodes] == [1, 1, 2]
    run_study(study, tiny_federation.initial, Exchange(grid), folder, score)
    *_, record = read_lines(folder.rounds)
    assert (record["answered"], record["asked_again"]) == ([*SITES], [])
    for site in sites.values():
        with site.ledger() as ledger:
            assert len(ledger.mechanisms("train")) == 1


def test_below_the_quorum_a_site_that_is_gone_is_waited_for(
    flower: Callable, tiny_federation: Any, tmp_path: Path
) -> None:
    """A round that lacks its quorum gives a site that is gone time to come back, and asks it then."""
    grid, folder = flower(3), RunFolder(tmp_path)

    def leaves(_site: Site, request: Message) -> None:
        grid.state.deactivate_node(request.metadata.dst_node_id)
        comes_back(grid, request.metadata.dst_node_id, look=3)

    Deaths(grid, tiny_federation.sites(tmp_path / "state"), leaves, 1)
    study = tiny_federation.changed(federation={"rounds": 1, "quorum": 3})
    run_study(study, tiny_federation.initial, Exchange(grid), folder, score)
    *_, record = read_lines(folder.rounds)
    assert (record["answered"], record["asked_again"]) == ([*SITES], ["film"])


def test_a_node_that_refuses_the_code_is_not_asked_again(flower: Callable) -> None:
    """A refused bundle stays refused: the node is named at once with that reason, and the others are heard."""
    grid = flower(2)
    refuses, well = grid.nodes
    refused = Error(FlowerErrorCode.INVALID_FAB, "The FAB could not be verified.")
    grid.behaviour = {refuses: lambda _: refused, well: echo}
    started = time.monotonic()
    answers = sorted(ask(grid, enough=False, seconds=1.0), key=lambda one: one.node_id != refuses)
    assert time.monotonic() - started < SECONDS
    assert answers == [Answer(refuses, None, code_refused=True), echoed(well)]
    assert answers[0].failure.startswith("code refused")
    assert [node for node, *_ in grid.received].count(refuses) == 1
