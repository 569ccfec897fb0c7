"""Over HTTP a reply is taken when it has come whole: nobody is held up by one that is on its way, or never comes."""

import time
from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, RecordDict
from flwr.common.constant import FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE, ErrorCode
from flwr.supercore.inflatable.inflatable_object import InflatableObject
from flwr.supercore.task_identity import TaskIdentity

from server.flower import replies as inbox
from server.flower.replies import Inbox
from server.rounds.exchange import Answer, Exchange
from tests.flower_nodes import HttpNodes, Pieces, served_superlink

SECONDS = 20.0
PIECE = bytes(range(256)) * 4
FLOWERS_PIECE = FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE  # bytes; equal ones of an array travel once


@pytest.fixture
def nodes() -> Iterator[HttpNodes]:
    """Two nodes that the hub reaches by HTTP."""
    identity = dict(vars(TaskIdentity))
    with served_superlink() as superlink, closing(HttpNodes(superlink, 2)) as grid:
        yield grid
    for name in ("_run_id", "_node_id", "_task_id"):
        setattr(TaskIdentity, name, identity[name])


def answer(*parts: bytes) -> RecordDict:
    """Return a node's answer, each part in a record of its own."""
    arrays = [ArrayRecord([np.frombuffer(part, np.uint8)]) for part in parts]
    return RecordDict({f"part{number}": array for number, array in enumerate(arrays)})


def announced(nodes: HttpNodes, node: int, said: RecordDict, root: InflatableObject | None = None) -> Pieces:
    """Fetch the one request of a node and announce its answer, or something else under its name."""
    (request,) = nodes.requests(node)
    pieces = nodes.announced(Message(said, reply_to=request), root)
    assert pieces is not None
    return pieces


def test_a_reply_on_its_way_holds_nobody_up(nodes: HttpNodes) -> None:
    """While one node's pieces are still to come the other's answer is handed out; then the first one's, whole."""
    slow, quick = nodes.nodes
    on_its_way: list[Pieces] = []
    nodes.behaviour[quick] = lambda _: answer(b"quick")
    answers = Exchange(nodes).ask(
        "train",
        dict.fromkeys(nodes.nodes, b"?"),
        SECONDS,
        meanwhile=lambda: on_its_way.append(announced(nodes, slow, answer(b"slow", b"slower"))),
    )
    assert next(answers) == Answer(quick, {"part0": b"quick"}, 5)
    (pieces,) = on_its_way
    assert pieces.send_all()
    assert list(answers) == [Answer(slow, {"part0": b"slow", "part1": b"slower"}, 10)]


@pytest.mark.parametrize("kept_back", ["first", "last"])
def test_a_reply_that_never_comes_whole_ends_with_the_deadline(nodes: HttpNodes, kept_back: str) -> None:
    """A node that announces an answer and keeps one piece back is silent, and the deadline holds."""
    silent, other = nodes.nodes
    nodes.behaviour[other] = lambda _: answer(b"here")

    def meanwhile() -> None:
        pieces = announced(nodes, silent, answer(b"never"))
        pieces.contents.pop(list(pieces.contents)[0 if kept_back == "first" else -1])
        assert pieces.send_all()

    started = time.monotonic()
    answers = Exchange(nodes).ask("train", dict.fromkeys(nodes.nodes, b"?"), 1.0, meanwhile=meanwhile)
    assert [one.node_id for one in answers] == [other]
    assert 1.0 <= time.monotonic() - started < SECONDS / 2


def test_a_reply_that_was_lost_on_its_way_is_asked_for_again(nodes: HttpNodes) -> None:
    """Pieces that Flower has dropped do not come any more: the node is asked once more, and answers."""
    node, _ = nodes.nodes

    def meanwhile() -> None:
        announced(nodes, node, answer(b"lost"))
        nodes.state.object_store.clear()
        nodes.behaviour[node] = lambda _: answer(b"again")

    answers = list(Exchange(nodes).ask("train", {node: b"?"}, SECONDS, meanwhile=meanwhile))
    assert answers == [Answer(node, None, asked_again=True), Answer(node, {"part0": b"again"}, 5)]


def taken(
    nodes: HttpNodes,
    said: RecordDict,
    root: InflatableObject | None = None,
    inbox_: Inbox | None = None,
) -> inbox.Reply:
    """Let a node answer with pieces of any kind; return what the hub makes of them."""
    node, _ = nodes.nodes
    request = RecordDict({"payload": ArrayRecord([np.zeros(3, np.uint8)])})
    (message_id,) = nodes.push_messages([Message(request, node, "train")])
    assert announced(nodes, node, said, root).send_all()
    (reply,) = (inbox_ or Inbox(nodes)).pull([message_id])
    assert reply.to == message_id
    return reply


def test_a_whole_reply_is_taken(nodes: HttpNodes) -> None:
    """A reply in order is read, so that what is refused below is refused for what it is."""
    reply = taken(nodes, answer(PIECE))
    assert reply.content is not None
    (array,) = reply.content.array_records["part0"].values()
    assert array.numpy().tobytes() == PIECE


def test_flower_drops_what_was_taken(nodes: HttpNodes) -> None:
    """By the next look the SuperLink keeps nothing of a reply that was taken."""
    inbox_ = Inbox(nodes)
    reply = taken(nodes, answer(PIECE), inbox_=inbox_)
    assert reply.content is not None
    assert list(inbox_.pull([])) == []
    assert len(nodes.state.object_store) == 0


ZEROS = RecordDict(
    {"part0": ArrayRecord({"0": Array("uint8", (4 * FLOWERS_PIECE,), "raw", bytes(4 * FLOWERS_PIECE))})}
)
LONG = answer(np.random.default_rng(0).bytes(4 * FLOWERS_PIECE))


@pytest.mark.parametrize("said", [LONG, ZEROS], ids=["many pieces", "one piece many times"])
def test_a_reply_cannot_fill_the_memory(
    nodes: HttpNodes, said: RecordDict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More bytes than any answer has are not put together, whether all are sent or one piece is named many times."""
    monkeypatch.setattr(inbox, "_MAX_REPLY_BYTES", 3 * FLOWERS_PIECE)
    reply = taken(nodes, said)
    assert (reply.content, reply.error) == (None, ErrorCode.MESSAGE_UNAVAILABLE)


def test_a_reply_that_is_no_message_fails_alone(nodes: HttpNodes) -> None:
    """What a node announces as a message and is something else is its failure, not the study's end."""
    reply = taken(nodes, answer(b"a message"), root=answer(b"no message"))
    assert (reply.content, reply.error) == (None, ErrorCode.MESSAGE_UNAVAILABLE)
