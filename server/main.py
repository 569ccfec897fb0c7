"""`rounds-hub`, as it is installed. What keeps services running for weeks starts without the models' libraries."""

import os
import sys
from importlib import import_module

from shared.flower_environment import direct_loopback

_LIGHT = (
    "serve",
    "healthy",
    "store",
    "study",
    "code",
    "registry",
    "people",
    "token",
    "dashboard",
    "feed",
)  # by these alone: a second, and 140 MB in place of 680


def main() -> None:
    """Run a command of `rounds-hub`."""
    os.environ.update(direct_loopback())  # the SuperLink is on this machine
    light = sys.argv[1:2] and sys.argv[1] in _LIGHT
    import_module("server.service_commands" if light else "server.cli").app(prog_name="rounds-hub")


if __name__ == "__main__":
    main()
