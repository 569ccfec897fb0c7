"""Is a supervisor at work, and are its services up? For health checks of containers, and for commands that need it.

In: the status file that the supervisor writes. Out: what it says, or one sentence on why that is not enough.
`python -m shared.processes.service_health FILE` is the check that a container runs: it loads nothing heavy.
"""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared.errors import ServiceError

_STALE_SECONDS = 30.0  # the supervisor writes every 5 s


@dataclass(frozen=True)
class ServiceStatus:
    """What a supervisor last wrote: its own facts, and the state of each service."""

    raw: dict[str, Any]

    def starts(self, name: str) -> int:
        """Return how often a service was started."""
        return int(self.raw["services"][name]["starts"])

    def pid(self, name: str) -> int | None:
        """Return the process of a service; None while it waits to be started again."""
        number = self.raw["services"][name]["pid"]
        return None if number is None else int(number)

    def fact(self, name: str) -> Any:
        """Return something else that the supervisor says."""
        return self.raw[name]


def read_status(path: Path, started_by: str) -> ServiceStatus:
    """Read a status file; `ServiceError` where no supervisor has written it lately."""
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        age = (datetime.now(UTC) - datetime.fromisoformat(raw["time"])).total_seconds()
    except FileNotFoundError:
        raise ServiceError(f"{path}: there is none, so nothing runs here; start `{started_by}`") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ServiceError(f"{path}: cannot be read; start `{started_by}` again") from error
    if age > _STALE_SECONDS:
        raise ServiceError(
            f"{path}: was last written {age:.0f} s ago, at most {_STALE_SECONDS:.0f} s are usual; start "
            f"`{started_by}` again"
        )
    return ServiceStatus(raw)


def answers(path: Path, started_by: str) -> ServiceStatus:
    """Read a status file in which every service runs; `ServiceError` otherwise."""
    status = read_status(path, started_by)
    waiting = [name for name in status.raw["services"] if status.pid(name) is None]
    if waiting:
        raise ServiceError(
            f"{', '.join(waiting)}: not running, will be started again; see the log of `{started_by}`"
        )
    if not status.raw.get("answers", True):
        raise ServiceError(f"the services run but do not answer; see the log of `{started_by}`")
    return status


def main() -> None:
    """Check one status file; exit status 1, with a sentence, where not all of its services are up."""
    try:
        answers(Path(sys.argv[1]), "the container's command")
    except (ServiceError, IndexError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
