"""The dashboard as one of the hub's services: its command line, and whether it answers.

In: the hub's folder and how readers reach it. Out: words to start it with, and a yes or no from its own `/health`.
"""

import ssl
import sys
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path

from server.dashboard.http.listen_address import Door

_ANSWER_SECONDS = 2
_ANY = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - hosts that are no address to dial


def dashboard_command(hub: Path, door: Door, workers: int) -> list[str]:
    """Return the command line of the dashboard; the store is in its environment, for its URL may hold a password."""
    words = ["dashboard", "serve", "--hub", str(hub.resolve()), "--listen", door.listen]
    words += ["--workers", str(workers)]
    if door.certificate is not None and door.key is not None:
        words += ["--certificate", str(door.certificate.resolve()), "--key", str(door.key.resolve())]
    if door.proxy:
        words += ["--proxy", door.proxy]
    for name in door.names:
        words += ["--name", name]
    return [sys.executable, "-m", "server.main", *words]


def dashboard_answers(door: Door) -> bool:
    """Tell whether the dashboard at this machine's end of the door says that it is well."""
    try:
        with closing(_connection(door)) as connection:
            name = door.names[0] if door.names else _dialled(door)
            connection.request("GET", "/health", headers={"Host": name})
            return connection.getresponse().status == 200
    except (HTTPException, OSError):
        return False


def _connection(door: Door) -> HTTPConnection:
    host = _dialled(door).strip("[]")
    if door.certificate is None:
        return HTTPConnection(host, door.port, timeout=_ANSWER_SECONDS)
    return HTTPSConnection(host, door.port, timeout=_ANSWER_SECONDS, context=_pinned(door.certificate))


def _pinned(certificate: Path) -> ssl.SSLContext:
    """Believe this very certificate, whoever signed it and whatever name it is for: it is our own."""
    context = ssl.create_default_context(cafile=str(certificate))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _dialled(door: Door) -> str:
    return _ANY.get(door.host, door.host)
