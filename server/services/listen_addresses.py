"""Where the hub listens, and the store that its services keep.

In: what a coordinator typed. Out: one checked value.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from server.dashboard.http.listen_address import LOOPBACK, Door
from shared.errors import ConfigError

_ANY = {"", "0.0.0.0", "[::]"}  # noqa: S104 - hosts that are no address to dial


@dataclass(frozen=True)
class Doors:
    """For sites by the proxy (`listen`), for senders of records (`feed`), both host:port; for readers (`dashboard`).

    `store` is a URL or path, `workers` how many processes make pages. `readers` is where browsers on other machines
    reach the dashboard by the hub's own nginx and certificate; "" for nowhere.
    """

    listen: str
    superlink_port: int
    feed: str
    store: str
    dashboard: Door
    workers: int = 1
    readers: str = ""

    @property
    def superlink(self) -> str:
        """host:port of the SuperLink, on this machine's loopback."""
        return f"127.0.0.1:{self.superlink_port}"

    @property
    def own_feed(self) -> str:
        """host:port at which this machine's own studies reach the feed."""
        return _from_here(self.feed)

    @property
    def own_listen(self) -> str:
        """host:port at which this machine reaches the door for sites."""
        return _from_here(self.listen)

    def told(self) -> dict[str, object]:
        """Return what commands and people may read of it."""
        return {
            "superlink": self.superlink,
            "listen": self.listen,
            "feed": self.feed,
            "dashboard": self.readers or self.dashboard.listen,
        }

    def check(self) -> None:
        """Raise `ConfigError` where one port is wanted twice, or passwords would cross the network in the clear."""
        self.dashboard.check("--dashboard-listen")
        ports = {
            "--listen": self.listen.rpartition(":")[2],
            "--superlink-port": str(self.superlink_port),
            "--feed-listen": self.feed.rpartition(":")[2],
            "--dashboard-listen": str(self.dashboard.port),
        }
        if self.readers:
            host, _, port = self.readers.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 65536:
                raise ConfigError(
                    f"--readers-listen is {self.readers!r}: allowed is ADDRESS:PORT, such as 0.0.0.0:8446; correct it"
                )
            ports["--readers-listen"] = port
        by_port: dict[str, str] = {}
        for option, port in ports.items():
            other = by_port.setdefault(port, option)
            if other != option:
                raise ConfigError(f"{option}: has port {port}, {other} has the same; give another")


def behind_own_proxy(door: Door, names: tuple[str, ...]) -> Door:
    """Return the dashboard's door behind the hub's own nginx, which speaks TLS under these names.

    `ConfigError` where it has TLS or a proxy of its own already, or would listen for other machines itself.
    """
    if door.certificate is not None or door.key is not None or door.proxy or door.host not in LOOPBACK:
        raise ConfigError(
            "--readers-listen: the hub's own nginx speaks TLS there, so --certificate, --key and --proxy have no use "
            "and --dashboard-listen is this machine's alone; leave them out"
        )
    return replace(door, proxy="127.0.0.1", names=door.names or names)


def _from_here(listen: str) -> str:
    host, _, port = listen.rpartition(":")
    return f"127.0.0.1:{port}" if host in _ANY else listen


def absolute_store(where: str) -> str:
    """Return a store's URL or path as it holds in any working folder."""
    if "://" not in where:
        return str(Path(where).resolve())
    start, sign, path = where.partition("sqlite:///")
    return f"{sign}{Path(path).resolve()}" if sign and path and not start else where
