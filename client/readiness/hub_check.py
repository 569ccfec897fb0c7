"""Can this hospital reach its hub, and would the hub let it in? Asked before joining, one line a question.

In: the hub's address, the federation's CA file, and what is known of keys and approved code. Out: findings for the
person at the hospital. A later question is not asked where an earlier one failed: its answer would mislead.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException
from pathlib import Path

import httpx

from client.readiness.finding import Finding
from client.readiness.hub_connection import (
    SECONDS,
    Address,
    connected,
    next_hop,
    proxy_for,
    read_ca,
    shown_certificate,
    verify,
)
from shared.errors import ConfigError

DAYS_LEFT = 30  # below it a certificate should be renewed
# Flower 1.41 takes a signed time that is less than 305 s old and less than 5 s ahead of the hub's own clock
# (flwr/superlink/routers/fleet/node_auth.py). The Date header is cut to seconds, so we stop a little before.
BEHIND_WARN, BEHIND_FAIL = 30.0, 240.0
AHEAD_WARN, AHEAD_FAIL = 2.0, 4.0
WRONG_NAME = (62, 64)  # OpenSSL: X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
NOT_YET, EXPIRED = 9, 10  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED


def hub_findings(address: str, ca_file: Path) -> Iterator[Finding]:
    """Yield name resolution, proxy, connection, TLS, health and clock; stops at the first that fails."""
    try:
        hub = Address.parse(address)
    except ConfigError as error:
        yield Finding("fail", "hub address", str(error))
        return
    for step in (
        _proxy,
        _name,
        _connection,
        lambda one: _tls(one, ca_file),
        lambda one: _health(one, ca_file),
    ):
        for finding in step(hub):
            yield finding
            if finding.mark == "fail":
                return


def _proxy(hub: Address) -> Iterator[Finding]:
    proxy = proxy_for(hub)
    if proxy is None:
        yield Finding("ok", "proxy", f"none between this machine and {hub.host}")
        return
    if proxy.scheme != "http":
        sentence = (
            f"the proxy is {proxy.scheme}://, allowed is http://; name it so, or add {hub.host} to no_proxy"
        )
        yield Finding("fail", "proxy", sentence)
        return
    sentence = (
        f"https_proxy or all_proxy sends the hub's traffic through {proxy.hostname}; if it must not, add {hub.host} to "
        "no_proxy for this machine and for the site's service"
    )
    yield Finding("warn", "proxy", sentence)


def _name(hub: Address) -> Iterator[Finding]:
    hop = next_hop(hub)
    try:
        found = socket.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
    except OSError:
        sentence = (
            f"{hop.host} has no address here; check the spelling, then ask IT to resolve it on this machine"
        )
        yield Finding("fail", "name", sentence)
        return
    addresses = ", ".join(sorted({str(one[4][0]) for one in found}))
    yield Finding("ok", "name", f"{hop.host} is {addresses}")


def _connection(hub: Address) -> Iterator[Finding]:
    try:
        with connected(hub):
            pass
    except TimeoutError:
        sentence = (
            f"{hub} gave no answer in {SECONDS:.0f} s; ask IT to open outgoing TCP to it in the firewall"
        )
        yield Finding("fail", "connection", sentence)
    except ConnectionRefusedError:
        sentence = f"{next_hop(hub)} refused; ask the coordinator whether the hub is up and the port is right"
        yield Finding("fail", "connection", sentence)
    except (OSError, HTTPException) as error:
        sentence = (
            f"{hub} cannot be reached ({_kind(error)}); ask IT for the route, or for the proxy's leave to it"
        )
        yield Finding("fail", "connection", sentence)
    else:
        yield Finding("ok", "connection", f"TCP to {hub} is open")


def _tls(hub: Address, ca_file: Path) -> Iterator[Finding]:
    try:
        authority = read_ca(ca_file)
        shown = shown_certificate(hub)
    except ConfigError as error:
        yield Finding("fail", "CA", str(error))
        return
    except (OSError, ValueError, HTTPException) as error:
        sentence = f"{hub} does not speak TLS ({_kind(error)}); ask the coordinator whether the port is right"
        yield Finding("fail", "TLS", sentence)
        return
    yield _dates("CA", authority.begins, authority.ends, "ask the hub for a new FEDERATION.json")
    try:
        version = verify(hub, ca_file)
    except ssl.SSLCertVerificationError as error:
        yield Finding("fail", "TLS", _distrust(hub, shown.names, shown.ends, error.verify_code))
        return
    except (OSError, HTTPException) as error:
        yield Finding("fail", "TLS", f"the handshake broke off ({_kind(error)}); try again, then ask IT")
        return
    yield Finding("ok", "TLS", f"{version}, signed by the federation's CA, for {', '.join(shown.names)}")
    yield _dates("hub certificate", shown.begins, shown.ends, "ask the coordinator to renew it")


def _distrust(hub: Address, names: tuple[str, ...], ends: datetime, code: int) -> str:
    if code in WRONG_NAME:
        held = ", ".join(names) or "no name"
        return (
            f"the certificate is for {held}, not for {hub.host}; use that name, or ask for a new certificate"
        )
    if code == EXPIRED:
        return f"a certificate ended (the hub's on {ends:%Y-%m-%d}); check this machine's date, then ask for a new one"
    if code == NOT_YET:
        return "a certificate is not valid yet; check this machine's date, then ask the coordinator"
    return (
        "the certificate is not signed by the federation's CA: a proxy opens TLS, or this is another hub; send "
        "nothing, and ask IT to exempt the hub, or compare the CA's fingerprint by telephone"
    )


def _dates(what: str, begins: datetime, ends: datetime, remedy: str) -> Finding:
    now = datetime.now(UTC)
    if not begins <= now <= ends:
        sentence = (
            f"valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}; check this machine's date, then {remedy}"
        )
        return Finding("fail", what, sentence)
    days = (ends - now).days
    sentence = f"valid until {ends:%Y-%m-%d}, {days} days"
    return (
        Finding("warn", what, f"{sentence}; {remedy}") if days < DAYS_LEFT else Finding("ok", what, sentence)
    )


def _health(hub: Address, ca_file: Path) -> Iterator[Finding]:
    """Ask for /health with the client that Flower uses, proxy rules included; its Date header is the hub's clock."""
    context = ssl.create_default_context(cafile=str(ca_file))
    try:
        sent = time.time()
        answer = httpx.get(f"https://{hub}/health", verify=context, timeout=SECONDS)
        middle = (sent + time.time()) / 2
    except httpx.HTTPError as error:
        sentence = f"GET /health failed ({_kind(error)}); ask the coordinator whether the hub is up"
        yield Finding("fail", "health", sentence)
        return
    if answer.status_code != httpx.codes.OK:
        sentence = f"GET /health says {answer.status_code}, needed is 200; ask the coordinator whether this is the hub"
        yield Finding("fail", "health", sentence)
        return
    yield Finding("ok", "health", f"the hub answers at {hub}")
    yield clock_finding(answer.headers.get("date"), middle)


def clock_finding(date: str | None, here: float) -> Finding:
    """Compare the hub's Date header with this machine's time in seconds since 1970, taken at the same moment."""
    try:
        there = parsedate_to_datetime(date or "").timestamp() + 0.5  # the header is cut to whole seconds
    except ValueError:
        sentence = "the hub sends no date; compare this machine's clock with a time server"
        return Finding("warn", "clock", sentence)
    ahead = here - there
    side = "ahead of" if ahead > 0 else "behind"
    sentence = f"this machine is {abs(ahead):.0f} s {side} the hub"
    remedy = "; let both follow a time server (NTP): the hub refuses keys 5 s ahead or 5 minutes behind"
    if ahead >= AHEAD_FAIL or -ahead >= BEHIND_FAIL:
        return Finding("fail", "clock", sentence + remedy)
    if ahead >= AHEAD_WARN or -ahead >= BEHIND_WARN:
        return Finding("warn", "clock", sentence + remedy)
    return Finding("ok", "clock", "agrees with the hub's to the second or two")


def _kind(error: BaseException) -> str:
    return type(error).__name__
