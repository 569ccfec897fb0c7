"""What the dashboard is told when it starts.

In: the command line. Out: one frozen value. Nothing here is a secret.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """How this dashboard is reached, and its limits.

    `secure` says that readers come by TLS, of this process or of a proxy before it: cookies then carry the `__Host-`
    name. `hosts` are the names that a request may be addressed to, without port; empty allows any.
    """

    secure: bool = False
    hub: Path | None = None  # the hub's folder, which is only read; none beside the results of simulations
    hub_seconds: float = 3.0  # how long what was gathered from it is shown again
    hosts: tuple[str, ...] = ()
    idle: timedelta = timedelta(minutes=30)
    longest: timedelta = timedelta(hours=12)
    fresh: timedelta = timedelta(minutes=5)  # how long a password counts as just given
    hashes_at_once: int = 4  # in this process; its workers share what the machine can bear
    max_body_bytes: int = 64 * 1024
    body_seconds: float = 10.0
    most_requests: int = 200  # at once, in this process; streams of changes count
    stream_seconds: float = 1.0  # between two looks for something new
    stale_seconds: float = 30.0
    own_view_first: bool = True  # who may decide says what they think before they see the automatic verdict
