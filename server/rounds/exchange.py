"""Asking sites and waiting for their answers, over Flower's Grid.

Requests go out as bytes, one a node; answers come back one by one as they arrive, until every asked node has
answered or the deadline has passed. A node that failed gets the same request once more: its ledger knows the
request, so it answers with the bytes it stored, or computes under the row it paid for, and is charged once.
What answers a closed stage is only told of, for it came too late. Exception texts that Flower attaches to a failure are
dropped here.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from server.flower.replies import Inbox
from shared.config.kinds import RequestKind
from shared.messages.refusal_meanings import CODE_REFUSED, NODE_FAILED
from shared.messages.stages import STAGES

PAYLOAD: Final = "payload"
_POLL_SECONDS: Final = 0.1  # Grid has no way to wait for a reply; its own loop sleeps 3 s between polls
_LOOK_SECONDS: Final = 1.0  # how often to see which nodes are connected, and since when
_SPARE_SECONDS: Final = (
    60.0  # a message outlives the deadline by this, so that an answer on its way is not cut off
)


@dataclass(frozen=True)
class Answer:
    """One node's answer: the named releases as bytes, or None when the node failed or said nothing usable.

    With `asked_again` it is no answer yet: the node failed and was sent the same request once more. With
    `code_refused` the node did not run the app at all: no hospital's signature that it trusts covers this bundle.
    `late_for` is kind and round of the closed stage that it answers; it is no answer to the present one.
    """

    node_id: int
    parts: dict[str, bytes] | None
    num_bytes: int = 0
    asked_again: bool = False
    code_refused: bool = False
    late_for: tuple[RequestKind, int] | None = None

    @property
    def failure(self) -> str | None:
        """Why there is nothing to read, in the words of the study's records."""
        if self.code_refused:
            return CODE_REFUSED
        return NODE_FAILED if self.parts is None else None


@dataclass
class _Asked:
    """A node that has not answered: its requests on the way, and since when it was connected as they left."""

    since: str | None
    messages: set[str] = field(default_factory=set)
    again: bool = False
    refused: bool = False

    def is_lost(self, since: str) -> bool:
        """Tell whether nothing will come: Flower named an error, or the node began anew after it was asked."""
        return not self.messages or (self.since is not None and self.since != since)


class Exchange:
    """Sends requests to nodes and yields their answers as they come."""

    def __init__(self, grid: Grid) -> None:
        self._grid, self._inbox = grid, Inbox(grid)
        # message: the node, and kind and round of the stage that was closed without it
        self._late: dict[str, tuple[int, tuple[RequestKind, int]]] = {}

    def wait_for_nodes(self, at_least: int, seconds: float) -> list[int]:
        """Return the connected nodes, after waiting up to `seconds` for `at_least` of them."""
        end = time.monotonic() + seconds
        while True:
            nodes = sorted(self._grid.get_node_ids())
            if len(nodes) >= at_least or time.monotonic() >= end:
                return nodes
            time.sleep(_POLL_SECONDS)

    def admitted_names(self) -> dict[int, str]:
        """Return the names under which connected nodes' keys were admitted; a simulation admits no keys."""
        return {node.node_id: node.name for node in self._grid.get_nodes() if node.name}

    def ask(
        self,
        kind: RequestKind,
        payloads: Mapping[int, bytes],
        seconds: float,
        enough: Callable[[], bool] = lambda: True,
        meanwhile: Callable[[], None] = lambda: None,
        number: int = 0,
    ) -> Iterator[Answer]:
        """Send each node its payload; yield answers until all are in or `seconds` have passed.

        `meanwhile` is done once all is sent, while nodes work. A failed node is asked once more as soon as it is
        connected. Where it is not, only a stage that has not got `enough` waits for it alone. Answers to stages that
        were closed before are yielded too, as late for theirs; `number` is the round that this one belongs to.
        """
        stage, looked = _Stage(self._grid, self._inbox, kind, payloads, seconds), -math.inf
        meanwhile()
        while True:
            in_time = time.monotonic() < stage.end  # what had come by the deadline is still taken
            if time.monotonic() - looked >= _LOOK_SECONDS:
                looked = time.monotonic()
                yield from self.late()
            for node, content in stage.replies():
                yield _answer(node, content)
            for node in stage.lost() if in_time else ():
                stage.send(node, again=True)
                yield Answer(node, None, asked_again=True)
            for node, one in stage.failed_for_good().items():
                yield Answer(node, None, code_refused=one.refused)
            if not in_time or not (stage.is_waiting() or (stage.asked and not enough())):
                break
            time.sleep(_POLL_SECONDS)
        for node, one in stage.asked.items():
            self._late |= dict.fromkeys(one.messages, (node, (kind, number)))
        yield from (Answer(node, None) for node, one in stage.asked.items() if not one.messages)

    def late(self) -> Iterator[Answer]:
        """Yield what has come since for closed stages, once a node and stage; failures are dropped.

        Pulled, an answer leaves the SuperLink's database; unpulled, it would stay there and nobody would know of it.
        """
        for reply in self._inbox.pull(sorted(self._late)):
            asked = self._late.pop(reply.to, None)
            if asked is None or reply.content is None:
                continue
            self._late = {message: one for message, one in self._late.items() if one != asked}
            node, stage = asked
            yield replace(_answer(node, reply.content), late_for=stage)


class _Stage:
    """One request to several nodes: `asked` holds those that have not answered."""

    def __init__(
        self, grid: Grid, inbox: Inbox, kind: RequestKind, payloads: Mapping[int, bytes], seconds: float
    ) -> None:
        self._grid, self._inbox, self._kind, self._payloads = grid, inbox, kind, payloads
        self.end = time.monotonic() + seconds
        self.asked: dict[int, _Asked] = {}
        self._look()
        for node in payloads:
            self.send(node)

    def send(self, node: int, *, again: bool = False) -> None:
        """Send a node its request, one message at a time.

        Several at once would be refused together for their size, and a Grid may leave a refused message out of
        the ids that it returns.
        """
        message = Message(
            _packed(self._payloads[node]),
            dst_node_id=node,
            message_type=STAGES[self._kind].message_type,
            ttl=max(self.end - time.monotonic(), 0) + _SPARE_SECONDS,
        )
        one = self.asked.setdefault(node, _Asked(None))
        one.since, one.again = self._connected.get(node), again
        one.messages |= {message_id for message_id in self._grid.push_messages([message]) if message_id}

    def replies(self) -> Iterator[tuple[int, RecordDict]]:
        """Yield the first reply of each node; an error only ends the message that it answers.

        A failed node's error comes from the SuperLink's own id, so the message id tells who it was.
        """
        asked_by = {message_id: node for node, one in self.asked.items() for message_id in one.messages}
        for reply in self._inbox.pull(sorted(asked_by)):
            node = asked_by.get(reply.to)
            if node is None or node not in self.asked:
                continue  # nobody asked for this, or this node has answered
            self.asked[node].messages.discard(reply.to)
            if reply.content is None:
                self.asked[node].refused |= reply.no_bundle
            else:
                del self.asked[node]
                yield node, reply.content

    def lost(self) -> list[int]:
        """Return the connected nodes whose answer is lost and that were asked only once; a refusal is an answer."""
        if self.is_waiting(for_all=True) and time.monotonic() - self._looked < _LOOK_SECONDS:
            return []
        self._look()
        return [
            node
            for node, one in self.asked.items()
            if not (one.again or one.refused)
            and node in self._connected
            and one.is_lost(self._connected[node])
        ]

    def failed_for_good(self) -> dict[int, _Asked]:
        """Drop and return the nodes that failed again, or that refused the code."""
        failed = {
            node: one for node, one in self.asked.items() if one.refused or (one.again and not one.messages)
        }
        for node in failed:
            del self.asked[node]
        return failed

    def is_waiting(self, *, for_all: bool = False) -> bool:
        """Tell whether requests are on the way to any, or to all, of the nodes that have not answered."""
        return (all if for_all else any)(one.messages for one in self.asked.values())

    def _look(self) -> None:
        """See since when each node is connected: one that began anew has lost what it was doing."""
        self._connected = {node.node_id: node.last_activated_at for node in self._grid.get_nodes()}
        self._looked = time.monotonic()


def _packed(payload: bytes) -> RecordDict:
    array = np.frombuffer(payload, dtype=np.uint8)
    return RecordDict({PAYLOAD: ArrayRecord([array])})


def _answer(node: int, content: RecordDict) -> Answer:
    try:
        parts = {
            name: next(iter(record.values())).numpy().tobytes()
            for name, record in content.array_records.items()
        }
    except Exception:  # noqa: BLE001 - numpy parses what the site sent, and nothing in it may end the study
        return Answer(node, None)
    return Answer(node, parts, sum(len(part) for part in parts.values()))
