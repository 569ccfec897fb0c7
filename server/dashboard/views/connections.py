"""The page of connections: what the hub knows of each site, read from its folder a few seconds apart at most.

In: the hub's folder, which is only read. Out: one frozen value for all readers, or the sentence that says why there is
none. The SuperLink is never asked from here, so a hub that hangs or is away holds up no page.
"""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Final

from server.connections.connections import Connections, gather
from server.connections.next_steps import ONLINE
from server.hub.hub_folder import HubFolder
from shared.errors import RoundsError

NO_HUB: Final = "This dashboard shows studies of this machine; no federation belongs to it."
START_WITH_HUB: Final = (
    "To see who is connected start it with `rounds-hub serve HUB` or `rounds-hub dashboard serve --hub HUB`."
)


@dataclass(frozen=True)
class ConnectionsView:
    """What the page prints; without `found` it is `nothing`, and what to do about it."""

    found: Connections | None
    nothing: str = ""
    remedy: str = ""

    @property
    def version(self) -> str:
        """A digest that differs once something differs which a reader sees; the passing of time alone is nothing."""
        seen = (self.nothing, self.remedy, None if self.found is None else _timeless(self.found))
        return hashlib.sha256(repr(seen).encode()).hexdigest()[:32]


class ConnectionsCache:
    """Gathers once for all readers and keeps it for `seconds`; readers at the same moment wait for one reading."""

    def __init__(self, hub: Path | None, seconds: float) -> None:
        self._hub, self._seconds = hub, seconds
        self._lock, self._until = Lock(), 0.0
        self._kept = ConnectionsView(None)

    def get(self) -> ConnectionsView:
        """Return what is known now, or was some seconds ago."""
        with self._lock:
            if monotonic() >= self._until:
                self._kept = connections_view(self._hub)
                self._until = monotonic() + self._seconds
            return self._kept


def connections_view(hub: Path | None) -> ConnectionsView:
    """Read the hub's folder; a folder that cannot be read is a sentence on the page, not an error of it."""
    if hub is None:
        return ConnectionsView(None, NO_HUB, START_WITH_HUB)
    if not HubFolder(hub).invitation_file.is_file():
        return ConnectionsView(None, "No federation was made here yet.", "`rounds-hub init` makes one.")
    try:
        return ConnectionsView(gather(HubFolder(hub)))
    except (RoundsError, OSError, ValueError) as error:
        return ConnectionsView(None, "The hub's folder cannot be read.", str(error))


def _timeless(found: Connections) -> object:
    """Leave out when it was gathered, and when a site that is online was last seen: both change with every look."""
    sites = [
        replace(
            one,
            facts=replace(
                one.facts, last_seen=None if one.facts.connection == ONLINE else one.facts.last_seen
            ),
        )
        for one in found.sites
    ]
    return found.hub.serves, found.hub.why, found.certificates, found.situation, sites, found.notes
