"""Asking sites and waiting for their answers, over Flower's Grid.

Requests go out as bytes, one a node; answers come back one by one as they arrive, until every asked node has
answered or the deadline has passed. Exception texts that Flower attaches to a failure are dropped here.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.serverapp import Grid

from shared.records import RequestKind

PAYLOAD: Final = "payload"
_MESSAGE_TYPES: Final[dict[RequestKind, str]] = {
    "enrol": "query.enrol",
    "train": "train",
    "evaluate": "evaluate",
}
_POLL_SECONDS: Final = 0.1  # Grid has no way to wait for a reply; its own loop sleeps 3 s between polls


@dataclass(frozen=True)
class Answer:
    """One node's answer: the named releases as bytes, or None when the node failed or said nothing usable."""

    node_id: int
    parts: dict[str, bytes] | None
    num_bytes: int = 0


class Exchange:
    """Sends requests to nodes and yields their answers as they come."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid

    def wait_for_nodes(self, at_least: int, seconds: float) -> list[int]:
        """Return the connected nodes, after waiting up to `seconds` for `at_least` of them."""
        end = time.monotonic() + seconds
        while True:
            nodes = sorted(self._grid.get_node_ids())
            if len(nodes) >= at_least or time.monotonic() >= end:
                return nodes
            time.sleep(_POLL_SECONDS)

    def ask(self, kind: RequestKind, payloads: Mapping[int, bytes], seconds: float) -> Iterator[Answer]:
        """Send each node its payload; yield answers until all are in or `seconds` have passed."""
        end = time.monotonic() + seconds
        waiting: dict[str, int] = {}
        for node, payload in payloads.items():
            # one message at a time: several would be refused together for their size, and a Grid may leave a
            # refused message out of the ids that it returns
            message = Message(
                _packed(payload), dst_node_id=node, message_type=_MESSAGE_TYPES[kind], ttl=seconds + 60
            )
            waiting |= {message_id: node for message_id in self._grid.push_messages([message]) if message_id}
        yield from (Answer(node, None) for node in payloads if node not in waiting.values())
        in_time = True
        while waiting and in_time:
            in_time = time.monotonic() < end  # what had come by the deadline is still taken
            replies = list(self._grid.pull_messages(list(waiting)))
            for reply in replies:
                # a failed node's error comes from the SuperLink's own id, so the message id tells who it was
                node = waiting.pop(reply.metadata.reply_to_message_id)
                yield _answer(node, reply)
            if waiting and not replies:
                time.sleep(_POLL_SECONDS)


def _packed(payload: bytes) -> RecordDict:
    array = np.frombuffer(payload, dtype=np.uint8)
    return RecordDict({PAYLOAD: ArrayRecord([array])})


def _answer(node: int, reply: Message) -> Answer:
    if reply.has_error():
        return Answer(node, None)
    try:
        parts = {
            name: next(iter(record.values())).numpy().tobytes()
            for name, record in reply.content.array_records.items()
        }
    except Exception:  # noqa: BLE001 - numpy parses what the site sent, and nothing in it may end the study
        return Answer(node, None)
    return Answer(node, parts, sum(len(part) for part in parts.values()))
