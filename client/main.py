"""`rounds-site`, as it is installed. What keeps services running for weeks starts without the models' libraries."""

import sys
from importlib import import_module

_LIGHT = ("run", "healthy")  # by these alone: half a second, and 60 MB in place of 600


def main() -> None:
    """Run a command of `rounds-site`."""
    light = sys.argv[1:2] and sys.argv[1] in _LIGHT
    import_module("client.node_commands" if light else "client.cli").app(prog_name="rounds-site")


if __name__ == "__main__":
    main()
