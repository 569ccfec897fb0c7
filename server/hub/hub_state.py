"""Whether the hub serves, and which sites are connected, as `rounds-hub serve` last wrote it into its status file.

In: that file. Out: one frozen value. No SuperLink is asked, so one that hangs or is away holds up no reader; what is
read is at most some seconds old and says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from server.hub.hub_folder import HubFolder
from shared.errors import ServiceError
from shared.processes.service_health import read_status

STARTED_BY: Final = "rounds-hub serve"
NODES: Final = "nodes"  # the entry of the status file; None while the SuperLink does not answer
ONLINE: Final = "online"
NEVER_CAME: Final = "registered"  # Flower's word for a node that is let in and has not come yet


@dataclass(frozen=True)
class Node:
    """A site's node in Flower's own words: `registered`, `online` or `offline`; `seen` is a time as ISO 8601."""

    state: str
    seen: str | None = None


@dataclass(frozen=True)
class HubState:
    """`why` is the sentence for a hub that does not serve; `nodes` is None where nobody knows who is connected."""

    serves: bool
    why: str = ""
    as_of: datetime | None = None
    superlink: str | None = None
    nodes: Mapping[str, Node] | None = field(default_factory=lambda: MappingProxyType({}))


def told_nodes(nodes: Mapping[str, Node]) -> dict[str, dict[str, str | None]]:
    """Return nodes as the status file has them."""
    return {name: {"state": node.state, "seen": node.seen} for name, node in nodes.items()}


def read_hub_state(hub: HubFolder) -> HubState:
    """Read what the hub's supervisor last said of itself."""
    if not hub.status.is_file():
        return HubState(
            serves=False,
            why=f"The hub is not serving, so no site can connect; start it with `{STARTED_BY}`.",
            nodes=None,
        )
    try:
        raw = read_status(hub.status, STARTED_BY).raw
        as_of, nodes = datetime.fromisoformat(raw["time"]).astimezone(UTC), _nodes(raw.get(NODES))
    except (ServiceError, ValueError, KeyError, TypeError):
        return HubState(
            serves=False,
            why=f"The hub's services have been silent for a while; look at their log, start `{STARTED_BY}` again.",
            nodes=None,
        )
    why = (
        ""
        if nodes is not None
        else "The hub's SuperLink does not answer, so nobody knows who is connected; it is started again by itself, "
        "`rounds-hub healthy` tells when."
    )
    return HubState(True, why, as_of, str(raw.get("superlink", "")) or None, nodes)


def _nodes(told: Any) -> Mapping[str, Node] | None:
    if told is None:
        return None
    return {str(name): Node(str(one["state"]), one["seen"]) for name, one in told.items()}
