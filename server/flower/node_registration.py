"""A running SuperLink lets in just the admitted sites: its registrations brought in line with the list.

In: the hub's list of sites, a SuperLink's address, the federation's CA. Out: node keys registered and unregistered
by Flower's Control API (flwr 1.41), and what was done. It may be called at any time and as often as one likes.
"""

import ssl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from flwr.proto.control_pb2 import ListNodesRequest, RegisterNodeRequest, UnregisterNodeRequest
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.control import ControlHttpClient

from server.hub.admitted_sites import AdmittedSite
from server.hub.hub_state import Node
from shared.errors import StudyError, TrustError

LOCAL_SUPERLINK = "127.0.0.1:8000"  # where Flower's SuperLink listens by default
_UNREGISTERED = "unregistered"


class SuperLinkAbsent(StudyError):  # noqa: N818 - a state of things as much as an error
    """No SuperLink answered; registrations are brought in line when it starts."""


@dataclass(frozen=True)
class Alignment:
    """What was changed: names of sites registered and unregistered; other nodes by their Flower id."""

    registered: tuple[str, ...]
    unregistered: tuple[str, ...]

    def __str__(self) -> str:
        done = [
            f"{what} {', '.join(names)}"
            for what, names in (("registered", self.registered), ("unregistered", self.unregistered))
            if names
        ]
        return "; ".join(done) or "nothing to change"


def align_nodes(sites: Sequence[AdmittedSite], superlink: str, ca_pem: bytes) -> Alignment:
    """Register what is admitted and missing, unregister all that is not admitted; `superlink` is host:port.

    First unregisters, so that a key that was removed loses its access even where a later step fails.
    `SuperLinkAbsent` where nobody answers, `TrustError` where somebody else does or a key has another name there.
    """
    wanted = {_pem(site.node_key): site.name for site in sites if site.removed is None}
    with _control(superlink, ca_pem) as control:
        present = [
            one for one in control.ListNodes(ListNodesRequest()).nodes_info if one.status != _UNREGISTERED
        ]
        foreign = [one for one in present if one.public_key not in wanted]
        for one in foreign:
            control.UnregisterNode(UnregisterNodeRequest(node_id=one.node_id))
        known = {one.public_key: one for one in present if one.public_key in wanted}
        _check_names(known, wanted)
        missing = {key: name for key, name in wanted.items() if key not in known}
        for key, name in missing.items():
            _register(control, key, name)
    return Alignment(tuple(missing.values()), tuple(one.name or str(one.node_id) for one in foreign))


def node_states(superlink: str, ca_pem: bytes) -> dict[str, Node]:
    """Return what Flower says of each registered site by name; one that is offline was last seen as it went."""
    with _control(superlink, ca_pem) as control:
        nodes = control.ListNodes(ListNodesRequest()).nodes_info
    return {
        one.name: Node(one.status, one.last_deactivated_at or None)
        for one in nodes
        if one.status != _UNREGISTERED
    }


def _check_names(known: dict[bytes, NodeInfo], wanted: dict[bytes, str]) -> None:
    for key, node in known.items():
        if node.name != wanted[key]:
            raise TrustError(
                f"node {node.node_id}: the SuperLink calls it {node.name!r}, it was admitted as {wanted[key]!r}; "
                "start the SuperLink with a new --database, nothing of a study is lost by that"
            )


def _register(control: ControlHttpClient, key: bytes, name: str) -> None:
    try:
        control.RegisterNode(RegisterNodeRequest(public_key=key, name=name))
    except httpx.HTTPStatusError as error:
        raise TrustError(
            f"{name}: the SuperLink does not register its key ({error.response.text.strip()[:200]}); a key that was "
            "once unregistered there stays out, so start it with a new --database or have the site make new keys"
        ) from error


@contextmanager
def _control(superlink: str, ca_pem: bytes) -> Iterator[ControlHttpClient]:
    """Lend a client that believes the federation's CA only."""
    client = ControlHttpClient.from_server_address(superlink, False, ca_pem, ())
    try:
        yield client
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        if isinstance(_root(error), ssl.SSLError):
            raise TrustError(
                f"SuperLink {superlink}: shows no certificate of this federation ({_root(error)}); give the right "
                "--superlink, and start the SuperLink anew after `rounds-hub renew`"
            ) from error
        raise SuperLinkAbsent(
            f"SuperLink {superlink}: nobody answers there; start it, or give --superlink"
        ) from error
    except (httpx.HTTPError, ValueError) as error:
        raise StudyError(f"SuperLink {superlink}: answered with {error}; see its log") from error
    finally:
        client.close()


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None or error.__context__ is not None:
        error = error.__cause__ or error.__context__ or error
    return error


def _pem(ssh_text: str) -> bytes:
    """Return a node key as Flower compares it."""
    key = load_ssh_public_key(ssh_text.encode())
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
