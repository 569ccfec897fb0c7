"""What stands around the hub's study process in its benchmark: a real SuperLink, and sites that answer at once.

The SuperLink is started as `rounds-hub serve` starts it (TLS, admitted keys, a database on disk). The sites are one
process: each dials with its own key by Flower's own node connection, looks for requests every 3 s as Flower's nodes
do, and answers by made updates. Nothing of them is in the study's process, whose time and memory are measured.
"""

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Message, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.proto.message_pb2 import ObjectTree
from flwr.server.superlink.linkstate import LinkState, LinkStateFactory
from flwr.supercore.constant import NOOP_FEDERATION_ID, TaskType
from flwr.supercore.heartbeat import HeartbeatSender
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    iterate_object_tree,
)
from flwr.supercore.inflatable.inflatable_utils import (
    inflate_object_from_contents,
    pull_objects,
    push_objects,
)
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supercore.primitives.asymmetric import (
    bytes_to_private_key,
    generate_key_pairs,
    private_key_to_bytes,
    public_key_to_bytes,
)
from flwr.superlink.federation import NoOpFederationManager
from flwr.supernode.fleet_http_connection import http_request_response

from server.flower.superlink import health_answers
from server.hub.certificates import Names
from server.hub.hub_folder import make_hub
from server.services.running_hub import Hub
from server.services.services import superlink_command
from shared.code_digest import code_digest
from shared.config.study import StudyConfig
from shared.messages.releases import EnrolmentRelease, Release, UpdateRelease, encode_release
from shared.messages.requests import RequestHeader, decode_request
from shared.models.arrays import Arrays
from shared.processes.flower_environment import flower_environment
from shared.processes.supervisor import free_port

LOOK_SECONDS = 3.0  # how often a node of Flower 1.41 asks for work
AT_ONCE = 2  # sites at work at the same time: the machine has two cores, and each holds its weights
START_SECONDS = 120
OWNER = "owner"


@dataclass(frozen=True)
class Surroundings:
    """How the study's process reaches the SuperLink, and how the sites do."""

    superlink: str
    ca: bytes
    run_id: int
    task_id: int
    token: str
    site_keys: tuple[bytes, ...]


@contextmanager
def surroundings(folder: Path, num_sites: int) -> Iterator[Surroundings]:
    """Start a SuperLink with a run that has begun and sites that are admitted; it ends with the block."""
    port = free_port()
    hub = Hub(folder / "hub")
    make_hub(hub.path, "benchmark", f"127.0.0.1:{port}", Names.of([], ["127.0.0.1"]))
    hub.database.parent.mkdir()
    with tempfile.TemporaryDirectory(dir=folder) as home, (folder / "superlink.log").open("wb") as log:
        process = subprocess.Popen(
            superlink_command(hub, port), cwd=home, env=flower_environment(Path(home)),
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            end = time.monotonic() + START_SECONDS
            while not health_answers(f"127.0.0.1:{port}", hub.ca_file):
                assert process.poll() is None, (folder / "superlink.log").read_text()
                assert time.monotonic() < end, "the SuperLink does not answer"
                time.sleep(0.1)
            with _begun(
                str(hub.database), f"127.0.0.1:{port}", hub.ca_file.read_bytes(), num_sites
            ) as around:
                yield around
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _begun(database: str, superlink: str, ca: bytes, num_sites: int) -> Iterator[Surroundings]:
    """Admit sites, begin a run as its SuperExec would, and keep it alive, in the SuperLink's own database."""
    state: LinkState = LinkStateFactory(
        database, NoOpFederationManager(), ObjectStoreFactory(database)
    ).state()
    pairs = [generate_key_pairs() for _ in range(num_sites)]
    for _, public in pairs:
        state.create_node(OWNER, OWNER, public_key_to_bytes(public), 0)
    run_id = state.create_run(None, None, None, {}, NOOP_FEDERATION_ID, None, None, TaskType.SERVER_APP)
    (task,) = [one for one in state.get_tasks() if one.run_id == run_id]
    token = state.claim_task(task.task_id)
    assert token is not None
    assert state.activate_task(task.task_id)
    keys = tuple(private_key_to_bytes(private) for private, _ in pairs)
    alive = HeartbeatSender(lambda: state.acknowledge_task_heartbeat(task.task_id))
    alive.start()
    try:
        yield Surroundings(superlink, ca, run_id, task.task_id, token, keys)
    finally:
        alive.stop()


@dataclass
class Times:
    """When, on this machine's clock: requests reached their sites, and answers were whole at the SuperLink; by id."""

    received: dict[str, float]
    available: dict[str, float]


def run_sites(around: Surroundings, study: StudyConfig, done: Pipe) -> None:
    """Be all sites until something comes through `done`; the times go back through it."""
    times, over = Times({}, {}), threading.Event()
    maker = _Maker(study, np.random.default_rng(0))
    with ThreadPoolExecutor(AT_ONCE) as turns, ThreadPoolExecutor(len(around.site_keys)) as sites:
        for number, key in enumerate(around.site_keys):
            sites.submit(_run_site, around, key, number, maker, times, over, turns).add_done_callback(_ended)
        done.recv()
        over.set()
    done.send(times)


def _ended(site: "Future[None]") -> None:
    """Say why a site ended before its time: the study would wait for it until its deadline."""
    if (error := site.exception()) is not None:
        print(f"a site ended: {error!r}", file=sys.stderr)


def _run_site(
    around: Surroundings,
    key: bytes,
    number: int,
    maker: "_Maker",
    times: Times,
    over: threading.Event,
    turns: ThreadPoolExecutor,
) -> None:
    """Be one site: look for requests, and answer each when it is this site's turn to work."""
    private = bytes_to_private_key(key)
    keys = (private, private.public_key())
    with http_request_response(around.superlink, False, around.ca, keys) as connection:
        receive = connection[1]
        over.wait(LOOK_SECONDS * number / len(around.site_keys))  # sites do not look all at the same moment
        while not over.is_set():
            announced = receive()
            if announced is None:
                over.wait(LOOK_SECONDS)
                continue
            times.received[announced[0].metadata.message_id] = time.monotonic()
            answered = turns.submit(_answer, connection, *announced, maker, number).result()
            times.available[answered] = time.monotonic()


def _answer(connection: Any, plain: Message, tree: ObjectTree, maker: "_Maker", number: int) -> str:
    """Fetch a request, answer it, and return the answer's id once all of it is at the SuperLink."""
    _, _, send, _, _, pull_object, push_object, confirm = connection
    request_id, run_id = plain.metadata.message_id, plain.metadata.run_id
    ids = [one.object_id for one in iterate_object_tree(tree)]
    pieces = pull_objects(ids, lambda one: pull_object(run_id, one))
    confirm(run_id, request_id)
    request = inflate_object_from_contents(request_id, pieces)
    assert isinstance(request, Message)
    reply = Message(maker.answer(request, number), reply_to=plain)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    wanted, session = send(remove_content_from_message(reply), get_object_tree(reply), 0.0)
    push_objects(
        get_all_nested_objects(reply),
        lambda one, data: push_object(run_id, session, one, data),
        object_ids_to_push=wanted,
    )
    return reply.metadata.message_id


@dataclass
class _Maker:
    """Makes answers; every site's update is another, so that Flower stores each."""

    study: StudyConfig
    noise: np.random.Generator
    base: Arrays | None = None

    def answer(self, request: Message, number: int) -> RecordDict:
        """Return what site `number` answers."""
        (array,) = request.content.array_records["payload"].values()
        asked = decode_request(array.numpy().tobytes())
        head = asked.header
        if head.kind == "enrol":
            fields = EnrolmentRelease(
                site=f"site{number:02}", study_digest=self.study.digest(), code_digest=code_digest(),
                versions={}, declared_patients=600,
            )  # fmt: skip
            return _packed("enrolment", Release(head.study_uid, head.round, fields))
        update = {
            name: one * np.float32(1 + number / 1000) for name, one in self._made(asked.weights).items()
        }
        return _packed("update", _update(head, update))

    def _made(self, weights: Arrays) -> Arrays:
        if self.base is None:
            self.base = {
                name: self.noise.standard_normal(array.shape, np.float32) * np.float32(1e-3)
                for name, array in weights.items()
            }
        return self.base


def _update(head: RequestHeader, update: Mapping[str, Any]) -> Release:
    return Release(head.study_uid, head.round, UpdateRelease(base_sha256=head.base_digest), update)


def _packed(part: str, release: Release) -> RecordDict:
    return RecordDict({part: ArrayRecord([np.frombuffer(encode_release(release), np.uint8)])})
