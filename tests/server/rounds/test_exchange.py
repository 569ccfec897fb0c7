"""Asking over Flower's own Grid and state: each asked node ends in one answer, in one failure, or silent."""

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Error, Message, MetricRecord, RecordDict

from server.rounds.exchange import Answer, Exchange
from shared.config.kinds import RequestKind

SECONDS = 20.0  # far more than any of this takes


def ask(grid: Any, *, seconds: float = SECONDS, kind: RequestKind = "train") -> dict[int, Answer]:
    """Ask every node for its own number; return the answers by node, one a node."""
    answers = Exchange(grid).ask(kind, {node: str(node).encode() for node in grid.nodes}, seconds)
    answers = [answer for answer in answers if not answer.asked_again]
    found = {answer.node_id: answer for answer in answers}
    assert len(found) == len(answers)
    return found


def echo(request: Message) -> dict[str, bytes]:
    """Answer with what was asked, and two bytes more."""
    (array,) = request.content.array_records["payload"].values()
    return {"update": array.numpy().tobytes(), "ledger_statement": b"12"}


def echoed(node: int) -> Answer:
    """Return the answer of a node that echoes its own number."""
    return Answer(node, {"update": str(node).encode(), "ledger_statement": b"12"}, len(str(node)) + 2)


@pytest.mark.parametrize(
    ("kind", "message_type"), [("enrol", "query.enrol"), ("train", "train"), ("evaluate", "evaluate")]
)
def test_each_node_gets_its_own_request_once(flower: Callable, kind: RequestKind, message_type: str) -> None:
    """One message a node, of the kind's type, with that node's payload; the answer is its bytes, counted."""
    grid = flower(3)
    grid.behaviour = dict.fromkeys(grid.nodes, echo)
    found = ask(grid, kind=kind)
    assert sorted(grid.received) == sorted((node, message_type, str(node).encode()) for node in grid.nodes)
    assert found == {node: echoed(node) for node in grid.nodes}


def test_the_hub_works_while_nodes_work(flower: Callable) -> None:
    """What is to be done meanwhile is done once, when every node has its request and before any is heard."""
    grid = flower(2)
    heard: list[Answer] = []

    def meanwhile() -> None:
        assert heard == []
        for node in grid.nodes:
            (request,) = grid.requests(node)
            assert grid.reply(request, {"update": b"late for nothing"})

    payloads = dict.fromkeys(grid.nodes, b"?")
    heard.extend(Exchange(grid).ask("train", payloads, SECONDS, meanwhile=meanwhile))
    assert [answer.parts for answer in heard] == [{"update": b"late for nothing"}] * 2


def test_an_answer_is_given_as_it_comes(flower: Callable) -> None:
    """The first answer is handed out while other nodes still work."""
    grid = flower(2)
    quick, slow = grid.nodes
    grid.behaviour[quick] = echo
    answers = Exchange(grid).ask("train", dict.fromkeys(grid.nodes, b"?"), SECONDS)
    assert next(answers).node_id == quick
    grid.behaviour[slow] = echo
    assert [answer.node_id for answer in answers] == [slow]


def test_the_deadline_ends_the_wait(flower: Callable) -> None:
    """A silent node has no answer, and asking ends at the deadline, not before and not long after."""
    grid = flower(2)
    grid.behaviour[grid.nodes[0]] = echo
    started = time.monotonic()
    assert list(ask(grid, seconds=0.5)) == grid.nodes[:1]
    assert 0.5 <= time.monotonic() - started < 5


def test_what_came_by_the_deadline_is_taken(flower: Callable) -> None:
    """An answer that came in time counts, also when the hub was busy with another until after the deadline."""
    grid = flower(2)
    first, second = grid.nodes
    grid.behaviour[first] = echo
    end = time.monotonic() + 6.5
    answers = Exchange(grid).ask("train", dict.fromkeys(grid.nodes, b"?"), 5.0)
    assert next(answers).node_id == first
    (request,) = grid.requests(second)
    assert grid.reply(request, {"update": b"in time"})
    while time.monotonic() < end:
        pass  # the hub checks the first answer
    assert [answer.parts for answer in answers] == [{"update": b"in time"}]


def test_a_late_answer_is_not_taken_for_another_question(flower: Callable) -> None:
    """What answers a closed stage is never handed out, also not as the answer to the next one."""
    grid = flower(1)
    (node,) = grid.nodes
    assert ask(grid, seconds=0.2) == {}
    (late,) = grid.requests(node)
    assert grid.reply(late, {"update": b"late"})
    grid.behaviour[node] = lambda _: {"update": b"new"}
    assert ask(grid)[node].parts == {"update": b"new"}


def test_a_late_answer_is_told_once_as_late_for_its_own_stage(flower: Callable) -> None:
    """The next stage tells what came for the one before, once, beside its own answers; then nothing is left of it."""
    grid = flower(2)
    quick, slow = grid.nodes
    exchange, payloads = Exchange(grid), dict.fromkeys(grid.nodes, b"?")
    grid.behaviour[quick] = lambda _: {"update": b"first"}
    assert list(exchange.ask("train", payloads, 0.2, number=1)) == [Answer(quick, {"update": b"first"}, 5)]
    (late,) = grid.requests(slow)
    assert grid.reply(late, {"update": b"late"})
    grid.behaviour = dict.fromkeys(grid.nodes, lambda _: {"evaluation": b"new"})
    told = list(exchange.ask("evaluate", payloads, SECONDS, number=2))
    assert told.pop(0) == Answer(slow, {"update": b"late"}, 4, late_for=("train", 1))
    assert sorted(told, key=lambda one: one.node_id) == [
        Answer(node, {"evaluation": b"new"}, 3) for node in sorted(grid.nodes)
    ]
    assert list(exchange.late()) == []


def test_a_node_that_was_asked_twice_is_late_once(flower: Callable) -> None:
    """Both of its answers may come after the deadline; it is told of once, and a failure is not told."""
    grid = flower(2)
    twice, failed = grid.nodes
    requests: list[Message] = []

    def restarted(request: Message) -> None:
        requests.append(request)
        grid.state.deactivate_node(twice)
        grid.state.activate_node(twice, 30.0)
        grid.behaviour[twice] = requests.append

    grid.behaviour = {twice: restarted, failed: requests.append}
    exchange = Exchange(grid)
    answers = list(exchange.ask("train", dict.fromkeys(grid.nodes, b"?"), 3.0, number=4))
    assert answers == [Answer(twice, None, asked_again=True)]
    assert len(requests) == 3
    for request in requests:
        mine = request.metadata.dst_node_id == twice
        assert grid.reply(request, {"update": b"late"} if mine else Error(code=2, reason="patient 123"))
    assert list(exchange.late()) == [Answer(twice, {"update": b"late"}, 4, late_for=("train", 4))]
    assert list(exchange.late()) == []


def test_a_failed_node_is_named_and_its_words_are_dropped(flower: Callable) -> None:
    """An error is a failure of the node that was asked, and nothing of its text is handed on."""
    grid = flower(2)
    well, failed = grid.nodes
    grid.behaviour = {well: echo, failed: lambda _: Error(code=2, reason="patient 123")}
    found = ask(grid)
    assert found[failed] == Answer(failed, None)
    assert found[well] == echoed(well)


def test_a_node_that_is_gone_is_named(flower: Callable) -> None:
    """The SuperLink's own word that a node is gone is a failure of that node, not of who said it."""
    grid = flower(2)
    well, gone = grid.nodes
    grid.behaviour[well] = echo
    assert grid.state.deactivate_node(gone)
    found = ask(grid)
    assert found[gone] == Answer(gone, None)
    assert found[well] == echoed(well)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_node_that_flower_does_not_know_fails_alone(flower: Callable, place: int) -> None:
    """A message that Flower refuses is that node's failure; the others' answers are still theirs."""
    grid = flower(3)
    grid.behaviour = dict.fromkeys(grid.nodes, echo)
    unknown = grid.nodes[place]
    grid.state.delete_node("owner", unknown)
    found = ask(grid)
    assert found.pop(unknown) == Answer(unknown, None)
    assert found == {node: echoed(node) for node in grid.nodes if node != unknown}


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    """Return an array as numpy stores it."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=pickled)
    return file.getvalue()


def npz(array: np.ndarray) -> bytes:
    """Return an archive where an array is expected."""
    file = io.BytesIO()
    np.savez(file, array=array)
    return file.getvalue()


def one_array(data: bytes, stype: str = "numpy.ndarray") -> RecordDict:
    """Return a reply with one array of these bytes."""
    return RecordDict({"update": ArrayRecord({"0": Array("uint8", (3,), stype, data)})})


THREE = np.arange(3, dtype=np.uint8)
UNREADABLE = {
    "an empty record": RecordDict({"update": ArrayRecord()}),
    "no bytes": one_array(b""),
    "cut off": one_array(npy(THREE)[:-1]),
    "no array": one_array(b"garbage"),
    "an archive": one_array(npz(THREE)),
    "an unreadable archive": one_array(npz(THREE)[:40]),
    "pickled objects": one_array(npy(np.array([{}]), pickled=True)),
    "a size that cannot be": one_array(npy(THREE).replace(b"(3,), }" + b" " * 14, b"(99999999999999999,),")),
    "another encoding": one_array(npy(THREE), stype="torch.tensor"),
}


@pytest.mark.parametrize("reply", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_reply_is_a_failure_of_its_node(flower: Callable, reply: RecordDict) -> None:
    """Whatever bytes a node puts in an array, it fails alone, and the others are heard."""
    grid = flower(2)
    bad, well = grid.nodes
    grid.behaviour = {bad: lambda _: reply, well: echo}
    found = ask(grid)
    assert found[bad] == Answer(bad, None)
    assert found[well] == echoed(well)


def test_only_arrays_are_read(flower: Callable) -> None:
    """A reply without arrays is an answer without parts; other records of a reply are not looked at."""
    grid = flower(1)
    grid.behaviour[grid.nodes[0]] = lambda _: RecordDict({"loss": MetricRecord({"loss": 0.1})})
    assert ask(grid)[grid.nodes[0]].parts == {}


def test_arrays_of_any_type_are_their_bytes(flower: Callable) -> None:
    """An array that is not of bytes is handed on as its bytes, for the hub to refuse by content."""
    grid = flower(1)
    array = np.array([[np.nan, 1.0]])
    grid.behaviour[grid.nodes[0]] = lambda _: RecordDict({"update": ArrayRecord([array])})
    assert ask(grid)[grid.nodes[0]].parts == {"update": array.tobytes()}


def test_nobody_answers_for_another(flower: Callable) -> None:
    """A reply in another node's name is not taken, whether that node exists or not; the asked node's own is."""
    grid = flower(2)
    asked, other = grid.nodes
    taken = []

    def overtaken(request: Message) -> dict[str, bytes]:
        taken.extend(grid.reply(request, {"update": b"false"}, sender) for sender in (other, 12345))
        return echo(request)

    grid.behaviour = {asked: overtaken, other: echo}
    assert ask(grid) == {node: echoed(node) for node in grid.nodes}
    assert taken == [False, False]


def test_a_second_answer_is_not_taken(flower: Callable) -> None:
    """Of two replies to one request the first stands, and the second yields nothing."""
    grid = flower(1)
    taken = []

    def twice(request: Message) -> None:
        taken.extend(grid.reply(request, {"update": said}) for said in (b"first", b"second"))

    grid.behaviour[grid.nodes[0]] = twice
    assert ask(grid)[grid.nodes[0]].parts == {"update": b"first"}
    assert taken == [True, False]


def test_nodes_that_were_not_asked_are_not_heard(flower: Callable) -> None:
    """A node that joins while others are asked gets no request and gives no answer."""
    grid = flower(1)
    joined = []

    def joining(request: Message) -> dict[str, bytes]:
        joined.append(grid.connected())
        grid.behaviour[joined[0]] = echo
        return echo(request)

    grid.behaviour[grid.nodes[0]] = joining
    assert list(ask(grid)) == grid.nodes
    assert [node for node, *_ in grid.received] == grid.nodes


def test_waiting_for_nodes(flower: Callable) -> None:
    """Waiting ends when enough nodes are connected, or after its time with those there are."""
    grid = flower(2)
    started = time.monotonic()
    assert Exchange(grid).wait_for_nodes(2, SECONDS) == sorted(grid.nodes)
    assert time.monotonic() - started < SECONDS
    assert Exchange(grid).wait_for_nodes(3, 0.3) == sorted(grid.nodes)
    grid.state.deactivate_node(grid.nodes[0])
    assert Exchange(grid).wait_for_nodes(1, SECONDS) == grid.nodes[1:]


def test_nodes_have_the_names_their_keys_were_admitted_under(flower: Callable) -> None:
    """Flower hands on the name that a key was registered with; a node registered without one has none."""
    grid = flower(1)
    node = grid.connected("north")
    assert Exchange(grid).admitted_names() == {node: "north"}
