"""The hub's folder while its services run: where they keep their state, and whether they answer.

In: the folder, and the status that the supervisor writes. Out: paths, an address, one sentence of health.
"""

from dataclasses import dataclass
from pathlib import Path

from server.hub.hub_folder import HubFolder
from server.hub.hub_state import STARTED_BY
from shared.processes.service_health import answers, read_status


@dataclass(frozen=True)
class Hub(HubFolder):
    """The hub's folder, and what its services keep there."""

    @property
    def database(self) -> Path:
        """SuperLink's own state: registered nodes, runs, and messages on their way."""
        return self.path / "superlink" / "state.sqlite"

    def superlink(self) -> str:
        """Return host:port of the running SuperLink; `ServiceError` when the hub does not run."""
        return str(read_status(self.status, STARTED_BY).fact("superlink"))


def is_healthy(hub: Hub) -> str:
    """Return one sentence that all runs and the SuperLink answers; `ServiceError` says why not."""
    status = answers(hub.status, STARTED_BY)
    return (
        f"sites reach {status.fact('listen')}; SuperLink, SuperExec, registry and proxy run; the feed takes records at "
        f"{status.fact('feed')}, readers reach the dashboard at {status.fact('dashboard')}"
    )
