"""The commands by which hub and site are started, in containers and natively: `tests/deploy` compares the two."""

import sys

MODULES = {"rounds-hub": "server.main", "rounds-site": "client.main"}  # as pyproject.toml has them


def hub_command(folder: str, listen: str, superlink_port: int) -> list[str]:
    """Return the command that runs a hub."""
    return ["rounds-hub", "serve", folder, "--listen", listen, "--superlink-port", str(superlink_port)]


def site_command(site_file: str) -> list[str]:
    """Return the command that runs a site."""
    return ["rounds-site", "run", site_file]


def from_this_repository(command: list[str]) -> list[str]:
    """Return a command with its program run as a module, so that nothing need be installed."""
    program, *words = command
    return [sys.executable, "-m", MODULES[program], *words]
