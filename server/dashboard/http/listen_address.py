"""How readers reach the dashboard: what a person typed, checked, and the socket that it stands for.

In: address, certificate, proxy and names. Out: one value, and a listening socket.
"""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from server.dashboard.http.settings import Settings
from shared.errors import ConfigError

LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")
BACKLOG: Final = 256


@dataclass(frozen=True)
class Door:
    """How readers reach the dashboard.

    Passwords cross a network only by TLS: of this process (`certificate`, `key`), or of a proxy at the address `proxy`,
    whose word about the reader's own address is taken. Without either it listens on this machine alone.
    """

    listen: str
    certificate: Path | None = None
    key: Path | None = None
    proxy: str = ""
    names: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """The address to listen on."""
        return self.listen.rpartition(":")[0]

    @property
    def port(self) -> int:
        """The port to listen on; 0 takes a free one."""
        return int(self.listen.rpartition(":")[2])

    @property
    def has_tls(self) -> bool:
        """Whether this process speaks TLS."""
        return self.certificate is not None

    @property
    def settings(self) -> Settings:
        """What the application is told of it."""
        names = self.names or (() if self.has_tls or self.proxy else LOOPBACK)
        return Settings(secure=self.has_tls or bool(self.proxy), hosts=tuple(name.lower() for name in names))

    def check(self, option: str = "--listen") -> None:
        """Refuse what cannot work or would not be safe; `ConfigError` says why, `option` is what a person typed."""
        host, port = self.listen.rpartition(":")[::2]
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ConfigError(
                f"{option} is {self.listen!r}: allowed is ADDRESS:PORT, such as 127.0.0.1:8470; correct it"
            )
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("--certificate and --key: only one of them is given; give both or none")
        if self.certificate is not None:
            try:
                ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                    self.certificate, self.key
                )
            except OSError as error:
                raise ConfigError(
                    f"--certificate {self.certificate}: cannot be used with --key {self.key}; give PEM files that "
                    "belong together"
                ) from error
        elif not self.proxy and host not in LOOPBACK:
            raise ConfigError(
                f"{option} is {self.listen}: passwords would cross the network in the clear; give --certificate and "
                "--key, or --proxy and the address of a proxy that speaks TLS, or listen on 127.0.0.1"
            )

    def bound(self) -> socket.socket:
        """Return the listening socket; `ConfigError` where the address is taken."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        made = socket.socket(family=family)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((self.host.strip("[]"), self.port))
            made.listen(BACKLOG)  # readers who come before the workers are ready wait
        except OSError as error:
            made.close()
            raise ConfigError(
                f"--listen is {self.listen}: cannot be listened on; is another dashboard running there? give another"
            ) from error
        made.set_inheritable(True)
        return made

    def url(self, bound: socket.socket) -> str:
        """Return the address for a browser."""
        name = self.names[0] if self.names else self.host
        return f"http{'s' if self.has_tls else ''}://{name}:{bound.getsockname()[1]}"
