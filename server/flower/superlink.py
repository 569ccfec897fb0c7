"""Flower's SuperLink (1.41) on this machine's loopback: how one is started, and whether it answers.

In: a port, an address. Out: a command line, a yes or no. The hub's own and a simulation's private one are both made so.
"""

import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from shared.processes.flower_environment import bin_folder

_ANSWER_SECONDS = 2


def loopback_superlink(port: int, *options: str) -> list[str]:
    """Return the command line of a SuperLink that only this machine reaches, and that installs nothing for an app."""
    return [
        f"{bin_folder()}/flower-superlink",
        "--host", "127.0.0.1",
        "--port", str(port),
        "--disable-runtime-dependency-installation",
        *options,
    ]  # fmt: skip


def health_answers(address: str, ca_file: Path | None, *, any_name: bool = False) -> bool:
    """Tell whether what listens at host:port says that it is well, under a certificate of the CA unless it has none.

    With `any_name` the certificate need not be for this address, which may be one of several that the machine has.
    """
    try:
        with closing(_connection(address, ca_file, any_name=any_name)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
    except (HTTPException, OSError):
        return False


def _connection(address: str, ca_file: Path | None, *, any_name: bool) -> HTTPConnection:
    if ca_file is None:
        return HTTPConnection(address, timeout=_ANSWER_SECONDS)
    context = ssl.create_default_context(cafile=str(ca_file))
    context.check_hostname = not any_name
    return HTTPSConnection(address, timeout=_ANSWER_SECONDS, context=context)
