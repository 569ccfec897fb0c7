"""One connection to the hub, made the way Flower makes it: proxy or none, TLS against the federation's CA.

In: address and CA file. Out: sockets and certificates. What leaves the hospital is a TLS handshake, a CONNECT line
where a proxy stands between, and one GET /health: no name of a site, no key, nothing of patients.
"""

import base64
import re
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from cryptography import x509

from shared.errors import ConfigError

SECONDS = 10.0  # to wait for a name, a connection or an answer


@dataclass(frozen=True)
class Address:
    """Host and port of the hub; `str()` is how Flower takes it."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read HOST:PORT or [IPv6]:PORT; `ConfigError` for anything else."""
        found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})", text)
        if found is None or not 0 < int(found[3]) < 65536:
            raise ConfigError(
                f"hub address is {text!r}, allowed is HOST:PORT such as hub.example.org:8443; copy it from the hub"
            )
        return cls(found[1] or found[2], int(found[3]))

    def __str__(self) -> str:
        return f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@dataclass(frozen=True)
class Certificate:
    """What a person must know of a certificate."""

    names: tuple[str, ...]
    begins: datetime
    ends: datetime

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Self:
        """Read names (SAN) and dates."""
        return cls(_names(certificate), certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def read_ca(path: Path) -> Certificate:
    """Read the federation's CA certificate; `ConfigError` when the file holds none."""
    try:
        return Certificate.of(x509.load_pem_x509_certificates(path.read_bytes())[0])
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"ca_file {path} holds no PEM certificate, needed is the one that came with FEDERATION.json; ask the hub "
            "for that file again"
        ) from error


def proxy_for(address: Address) -> SplitResult | None:
    """Return the proxy that the environment names for the hub, as Flower's client takes it; None when exempt."""
    proxies = getproxies()
    named = proxies.get("https") or proxies.get("all")
    if not named or proxy_bypass(address.host):
        return None
    return urlsplit(named if "://" in named else f"http://{named}")


def next_hop(address: Address) -> Address:
    """Return where the first connection goes: the proxy, or the hub itself."""
    proxy = proxy_for(address)
    if proxy is None:
        return address
    return Address(proxy.hostname or "", proxy.port or (443 if proxy.scheme == "https" else 80))


@contextmanager
def connected(address: Address) -> Iterator[socket.socket]:
    """Open a connection whose other end is the hub's port; `OSError` or `HTTPException` when there is none."""
    proxy, hop = proxy_for(address), next_hop(address)
    if proxy is None:
        with socket.create_connection((hop.host, hop.port), SECONDS) as direct:
            yield direct
        return
    tunnel = HTTPConnection(hop.host, hop.port, timeout=SECONDS)
    tunnel.set_tunnel(address.host, address.port, _credentials(proxy))
    try:
        tunnel.connect()
        yield tunnel.sock
    finally:
        tunnel.close()


def shown_certificate(address: Address) -> Certificate:
    """Return the certificate that the other end shows, whoever signed it: for telling what is wrong with it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # looked at, never trusted
    with connected(address) as plain, context.wrap_socket(plain, server_hostname=address.host) as secured:
        return Certificate.of(x509.load_der_x509_certificate(secured.getpeercert(True) or b""))


def verify(address: Address, ca_file: Path) -> str:
    """Shake hands as Flower does and return the TLS version; `ssl.SSLError` when the hub cannot be trusted."""
    context = ssl.create_default_context(cafile=str(ca_file))
    with connected(address) as plain, context.wrap_socket(plain, server_hostname=address.host) as secured:
        return str(secured.version())


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(one) for one in found.get_values_for_type(x509.IPAddress))
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def _credentials(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


__all__ = [
    "Address", "Certificate", "HTTPException", "connected", "next_hop", "proxy_for", "read_ca", "shown_certificate",
    "verify",
]  # fmt: skip
