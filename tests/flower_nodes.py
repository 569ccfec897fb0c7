"""Nodes for the hub to ask, over Flower's own Grid and state: they act in this process, when the hub looks.

`LocalNodes` are reached as in a simulation, `HttpNodes` as in a deployment: the hub's messages and the nodes' pass
through a SuperLink's Runtime API by HTTP, in pieces.
"""

import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import uvicorn
from flwr.app import ArrayRecord, Error, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.server.superlink.linkstate import LinkState, LinkStateFactory
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_object import (
    InflatableObject,
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import inflate_object_from_contents
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.task_identity import TaskIdentity
from flwr.superlink.federation import NoOpFederationManager
from flwr.superlink.grid import InMemoryGrid
from flwr.superlink.grid.http_grid import HttpGrid
from flwr.superlink.main import create_app

Said = dict[str, bytes] | RecordDict | Error
NOBODY = "owner"
RETRY_SECONDS = 20.0  # Flower's own is for ever, also when the SuperLink of a test has ended


class FlowerNodes:
    """What both kinds share: `behaviour[node]` says what a node replies to a request.

    None is silence. A node without one fetches nothing. No test waits: nodes get their turn when the hub looks.
    """

    state: LinkState

    def begin(self, run_id: int, task_id: int, count: int) -> None:
        """Stand in the run's place, and connect `count` nodes."""
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = run_id, 1, task_id
        self.behaviour: dict[int, Callable[[Message], Said | None]] = {}
        self.received: list[tuple[int, str, bytes]] = []  # node, message type, payload
        self.nodes = [self.connected() for _ in range(count)]

    def connected(self, name: str | None = None) -> int:
        """Add a node that is online for 60 s."""
        node = self.state.create_node(NOBODY, NOBODY, uuid.uuid4().bytes, 30.0, name=name)
        assert self.state.activate_node(node, 30.0)
        return node

    def act(self) -> None:
        """Let the connected nodes fetch and reply."""
        for node in set(self.behaviour) & set(self.get_node_ids()):  # type: ignore[attr-defined]
            for request in self.requests(node):
                if (said := self.behaviour[node](request)) is not None:
                    self.reply(request, said)

    def requests(self, node: int) -> list[Message]:
        """Deliver what a node was sent and has not seen."""
        found = self.delivered(node)
        self.received += [(node, one.metadata.message_type, payload_of(one)) for one in found]
        return found

    def reply(self, request: Message, said: Said, sender: int | None = None) -> bool:
        """Send a reply in the name of the asked node, or of another; whether Flower took it."""
        if isinstance(said, dict) and not isinstance(said, RecordDict):
            said = RecordDict({n: ArrayRecord([np.frombuffer(p, np.uint8)]) for n, p in said.items()})
        reply = Message(said, reply_to=request)
        if sender is not None:
            reply.metadata.__dict__["_src_node_id"] = sender
        return self.stored(reply)

    def delivered(self, node: int) -> list[Message]:
        """Return what a node has not been given yet."""
        raise NotImplementedError

    def stored(self, reply: Message) -> bool:
        """Send a reply; whether Flower took it."""
        raise NotImplementedError


class LocalNodes(FlowerNodes, InMemoryGrid):
    """Nodes over a LinkState in this process."""

    def __init__(self, database: str, count: int) -> None:
        with warnings.catch_warnings():  # Flower's migrations use an old form of Alembic's configuration
            warnings.simplefilter("ignore", DeprecationWarning)
            factory = LinkStateFactory(database, NoOpFederationManager(), ObjectStoreFactory())
            InMemoryGrid.__init__(self, factory)
        run_id = new_run(self.state)
        self.set_run(self.state.get_run_info(run_ids=[run_id])[0])
        self.begin(run_id, 1, count)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Let the connected nodes act, then pull what is there."""
        self.act()
        return super().pull_messages(message_ids)

    def delivered(self, node: int) -> list[Message]:
        """Return the messages, which are whole."""
        return list(self.state.get_message_ins(node, None))

    def stored(self, reply: Message) -> bool:
        """Store the reply whole."""
        reply.metadata.__dict__["_message_id"] = str(uuid.uuid4())
        return self.state.store_message_res(reply) is not None


@dataclass(frozen=True)
class SuperLink:
    """Flower's own app, served on this machine, and the state behind it."""

    address: str
    state: LinkState


@contextmanager
def served_superlink() -> Iterator[SuperLink]:
    """Serve a SuperLink without TLS, with its state in memory, from a thread."""
    app = create_app()
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the SuperLink does not start"
            time.sleep(0.01)
        (listening,) = server.servers[0].sockets
        host, port = listening.getsockname()
        yield SuperLink(f"{host}:{port}", app.state.linkstate_factory.state())
    finally:
        server.should_exit = True
        thread.join()


class HttpNodes(FlowerNodes, HttpGrid):
    """Nodes that the hub reaches by HTTP; they themselves act on the SuperLink's state."""

    def __init__(self, superlink: SuperLink, count: int) -> None:
        self.state = superlink.state
        run_id = new_run(self.state)
        (task,) = [one for one in self.state.get_tasks() if one.run_id == run_id]
        token = self.state.claim_task(task.task_id)
        assert token is not None
        assert self.state.activate_task(task.task_id)
        HttpGrid.__init__(self, superlink.address, insecure=True, token=token)
        self._retry_invoker.max_time = RETRY_SECONDS
        self._alive = HeartbeatSender(lambda: self.state.acknowledge_task_heartbeat(task.task_id))
        self._alive.start()
        self.set_run(self.state.get_run_info(run_ids=[run_id])[0])
        self.begin(run_id, task.task_id, count)

    def close(self) -> None:
        """End the run's sign of life and the connection."""
        self._alive.stop()
        super().close()

    @property
    def _runtime_client(self) -> Any:
        return _ActingFirst(self, super()._runtime_client)

    def delivered(self, node: int) -> list[Message]:
        """Return the messages, put together from their pieces."""
        return [self._whole(one) for one in self.state.get_message_ins(node, None)]

    def stored(self, reply: Message) -> bool:
        """Announce the reply and send all its pieces."""
        pieces = self.announced(reply)
        return pieces is not None and pieces.send_all()

    def announced(self, reply: Message, root: InflatableObject | None = None) -> "Pieces | None":
        """Announce the reply, as a node does before it sends its pieces; None where Flower does not take it.

        `root` is what is sent under the reply's name where that is not the reply itself.
        """
        whole = root or reply
        reply.metadata.__dict__["_message_id"] = whole.object_id
        run_id, tree = reply.metadata.run_id, get_object_tree(whole)
        session = self.state.start_session(run_id)
        plain = remove_content_from_message(reply)
        taken, missing = self.state.store_message_and_object_tree(plain, tree, session)
        parts = get_all_nested_objects(whole)
        contents = {key: one.deflate() for key, one in parts.items() if key in missing}
        return Pieces(self.state, run_id, session, contents) if taken else None

    def _whole(self, announced: Message) -> Message:
        store, root = self.state.object_store, announced.metadata.message_id
        tree = store.get_object_tree(root)
        contents = {one.object_id: store.get(one.object_id) for one in iterate_object_tree(tree)}
        message = inflate_object_from_contents(root, {key: one for key, one in contents.items() if one})
        assert isinstance(message, Message)
        message.metadata.__dict__["_message_id"] = root
        store.delete(root)
        return message


@dataclass(frozen=True)
class Pieces:
    """A reply on its way: what is still to be sent, by id, in the order in which a node sends it."""

    state: LinkState
    run_id: int
    session: str
    contents: dict[str, bytes]

    def send(self, piece: str) -> bool:
        """Send one piece."""
        return self.state.store_object(self.run_id, self.session, piece, self.contents.pop(piece))

    def send_all(self) -> bool:
        """Send what is left; whether Flower took all of it."""
        return all(self.send(piece) for piece in list(self.contents))


class _ActingFirst:
    """The hub's client, before whose question for replies the nodes get their turn."""

    def __init__(self, nodes: HttpNodes, client: Any) -> None:
        self._nodes, self._client = nodes, client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def PullMessages(self, request: Any) -> Any:  # noqa: N802 - Flower's name
        """Let the nodes act, then ask."""
        self._nodes.act()
        return self._client.PullMessages(request)


def new_run(state: LinkState) -> int:
    """Make a run of a ServerApp."""
    return state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, None, TaskType.SERVER_APP)


def payload_of(request: Message) -> bytes:
    """Return the bytes that a node was sent."""
    return next(iter(request.content.array_records["payload"].values())).numpy().tobytes()
