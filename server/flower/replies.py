"""Replies to the hub's messages, each taken when all of it has come, over Flower's Grid (1.41).

In: ids of messages that were sent. Out: replies, one by one. Flower hands a reply out as soon as a node has announced
it, and its own pull then waits for the pieces, in up to 500 tries: one site that uploads slowly, or announces what it
never sends, would hold up all others and the deadline. So a reply that is still on its way is left for the next look.
"""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from flwr.app import Array, Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.proto.message_pb2 import ConfirmMessageReceivedRequest, ObjectTree
from flwr.proto.runtime_pb2 import PullAppMessagesRequest
from flwr.serverapp import Grid
from flwr.supercore.inflatable.inflatable_object import (
    get_object_body,
    get_object_head_values_from_object_content,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_pull_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import (
    ObjectPullError,
    ObjectUnavailableError,
    inflate_object_from_contents,
)
from flwr.superlink.grid.http_grid import HttpGrid

from shared.messages.releases import MAX_BYTES

log = logging.getLogger("rounds.hub")
_PULL_AT_ONCE: Final = 4  # where Flower hands over replies whole: those of many sites would fill the memory
_MAX_REPLY_BYTES: Final = MAX_BYTES + (
    1 << 20
)  # an update, a ledger statement, and what Flower puts around them


@dataclass(frozen=True)
class Reply:
    """What came back for the message `to`: its content, or Flower's code for why there is none."""

    to: str
    content: RecordDict | None
    error: int | None = None

    @property
    def no_bundle(self) -> bool:
        """Whether the node did not run the app: its hospital has not signed the bundle."""
        return self.error == ErrorCode.INVALID_FAB


@dataclass
class _Arriving:
    """A reply that was announced: its pieces, and the one that was missing when it was last looked for."""

    tree: ObjectTree
    missing: str = field(init=False)

    def __post_init__(self) -> None:
        self.missing = self.tree.object_id  # a node sends it last, and it is small


class Inbox:
    """Pulls the replies to the messages of one hub process; also of stages that were closed meanwhile."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._arriving: dict[str, _Arriving] = {}  # by the id of the message that is replied to
        self._taken_ids: list[str] = []

    def pull(self, message_ids: Iterable[str]) -> Iterator[Reply]:
        """Yield the replies to these messages that are there, whole; nothing else is waited for."""
        wanted = list(message_ids)
        if not isinstance(self._grid, HttpGrid):  # in a simulation replies come whole
            yield from self._handed_over(wanted)
            return
        self._drop_taken(self._grid)
        self._claim(self._grid, [one for one in wanted if one not in self._arriving])
        for to in [one for one in wanted if one in self._arriving]:
            reply = self._taken(self._grid, to, self._arriving[to])
            if reply is not None:
                del self._arriving[to]
                yield reply

    def _handed_over(self, message_ids: list[str]) -> Iterator[Reply]:
        for start in range(0, len(message_ids), _PULL_AT_ONCE):
            for message in self._grid.pull_messages(message_ids[start : start + _PULL_AT_ONCE]):
                yield _read(message, message.metadata.reply_to_message_id)

    def _claim(self, grid: HttpGrid, message_ids: list[str]) -> None:
        """Ask which messages were replied to; Flower says so once for each."""
        if not message_ids:
            return
        client = grid._runtime_client  # noqa: SLF001 - HttpGrid offers no pull that does not wait
        found = client.PullMessages(PullAppMessagesRequest(message_ids=message_ids))
        for message, tree in zip(found.messages_list, found.message_object_trees, strict=True):
            self._arriving[message.metadata.reply_to_message_id] = _Arriving(tree)

    def _drop_taken(self, grid: HttpGrid) -> None:
        """Let the SuperLink drop replies that were taken before: at leisure, for its disk is slow at it."""
        for reply_id in self._taken_ids:
            request = ConfirmMessageReceivedRequest(
                node=grid.node, run_id=grid.run.run_id, message_object_id=reply_id
            )
            grid._runtime_client.ConfirmMessageReceived(request)  # noqa: SLF001 - see above
        self._taken_ids.clear()

    def _taken(self, grid: HttpGrid, to: str, one: _Arriving) -> Reply | None:
        """Return the reply where all its pieces are there; one that has gone, or is no reply, is an error."""
        client, run_id = grid._runtime_client, grid.run.run_id  # noqa: SLF001 - see above
        try:
            pieces = _pieces(one, make_pull_object_fn_protobuf(client.PullObject, grid.node, run_id))
        except ObjectPullError as error:
            log.warning("a reply was lost: %s", error)
            return Reply(to, None, ErrorCode.MESSAGE_UNAVAILABLE)
        if pieces is None:
            return None
        self._taken_ids.append(one.tree.object_id)
        try:
            return _read(_put_together(one.tree.object_id, pieces), to)
        except Exception as error:  # noqa: BLE001 - a site made these pieces, and nothing in them may end the study
            log.warning("a reply cannot be read: %s", type(error).__name__)
            return Reply(to, None, ErrorCode.MESSAGE_UNAVAILABLE)


def _read(message: Message, to: str) -> Reply:
    return Reply(to, None, message.error.code) if message.has_error() else Reply(to, message.content)


def _pieces(one: _Arriving, pull: Callable[[str], bytes]) -> dict[str, bytes] | None:
    """Return all pieces of a reply by id, or None while one is missing; `ObjectPullError` where one is gone."""
    pieces: dict[str, bytes] = {}
    for piece in (one.missing, *(node.object_id for node in iterate_object_tree(one.tree))):
        if piece in pieces:
            continue
        try:
            pieces[piece] = pull(piece)
        except ObjectUnavailableError:
            one.missing = piece  # looked for first the next time, so that nothing is fetched over and over
            return None
        if sum(map(len, pieces.values())) > _MAX_REPLY_BYTES:
            raise ObjectPullError(piece, f"the reply has more than {_MAX_REPLY_BYTES} bytes.")
    return pieces


def _put_together(root: str, pieces: dict[str, bytes]) -> Message:
    """Make the message of its pieces; an array may name a piece many times, so its size is known first."""
    size = 0
    for content in pieces.values():
        kind, children, _ = get_object_head_values_from_object_content(content)
        if kind == Array.__qualname__:
            places = json.loads(get_object_body(content, Array))["arraychunk_ids"]
            size += sum(len(pieces[children[place]]) for place in places)
    if size > _MAX_REPLY_BYTES:
        raise ValueError(f"arrays of {size} bytes, allowed are {_MAX_REPLY_BYTES}")
    message = inflate_object_from_contents(root, pieces)
    if not isinstance(message, Message):
        raise TypeError("not a message")
    return message
