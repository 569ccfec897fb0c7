"""Hubs to check against: real TLS servers on this machine, with certificates made here.

`authority()` makes a CA; it signs certificates for any name and dates. `serving` runs an HTTPS server with GET /health,
`proxying` a proxy that answers CONNECT.
"""

import datetime as dt
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = "127.0.0.1"


class Authority:
    """A certificate authority whose CA file is `ca_file`."""

    def __init__(self, folder: Path, name: str = "ca", days: float = 3650) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._built(self.name, self.key, days).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).sign(self.key, hashes.SHA256())  # fmt: skip
        self.ca_file = folder / f"{name}.crt"
        self.ca_file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, host: str = HERE, *, days: float = 365, begins: float = -30) -> Path:
        """Return a PEM file with key and certificate for a host; `days` from now, negative is past."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        try:
            name: x509.GeneralName = x509.IPAddress(ip_address(host))
        except ValueError:
            name = x509.DNSName(host)
        built = self._built(subject, key, days, begins)
        built = built.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        path = self.folder / f"{host}-{days}-{begins}-{id(key)}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + built.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return path

    def _built(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, days: float, begins: float = -30
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=min(begins, days - 1)))
            .not_valid_after(now + dt.timedelta(days=days))
        )


@contextmanager
def serving(certificate: Path | None, *, status: int = 200, clock_seconds: float = 0) -> Iterator[str]:
    """Serve /health over TLS, or over plain HTTP without a certificate; yields HOST:PORT."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            here = dt.datetime.now(dt.UTC).timestamp() if timestamp is None else timestamp
            return super().date_time_string(here + clock_seconds)  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def get_request(self) -> tuple[socket.socket, object]:
            plain, peer = super().get_request()
            return (plain if context is None else context.wrap_socket(plain, server_side=True)), peer

    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    with running(Server((HERE, 0), Health)) as port:
        yield f"{HERE}:{port}"


@contextmanager
def proxying(target: str | None = None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Answer CONNECT; all goes to `target` where one is given. Yields HOST:PORT and (asked, credentials) pairs."""
    asked: list[tuple[str, str]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            asked.append((self.path, self.headers.get("Proxy-Authorization", "")))
            host, _, port = (target or self.path).rpartition(":")
            with socket.create_connection((host, int(port))) as onward:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                ends = [self.connection, onward]
                while True:
                    for one in select.select(ends, [], [])[0]:
                        data = one.recv(65536)
                        if not data:
                            return
                        ends[one is self.connection].sendall(data)

        def log_message(self, *_: object) -> None:
            pass

    with running(ThreadingHTTPServer((HERE, 0), Proxy)) as port:
        yield f"{HERE}:{port}", asked


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[int]:
    """Run a server in a thread until the end; yields its port."""
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that distrusts us breaks off
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> str:
    """Return HOST:PORT of a port on which nobody listens."""
    with socket.socket() as one:
        one.bind((HERE, 0))
        return f"{HERE}:{one.getsockname()[1]}"
