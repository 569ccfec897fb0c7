"""`rounds-hub`, as it is installed."""

import os

from server.cli.program import app
from shared.processes.flower_environment import direct_loopback


def main() -> None:
    """Run a command of `rounds-hub`."""
    os.environ.update(direct_loopback())  # the SuperLink is on this machine
    app(prog_name="rounds-hub")


if __name__ == "__main__":
    main()
