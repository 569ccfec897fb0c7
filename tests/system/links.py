"""A slow and long link to one site: a network namespace whose only way out is a thin pair of virtual cables.

In: the hub's host:port on this machine, a rate and a delay. Out: the address by which the hub is dialled in there,
and the words that start a command in there. The kernel's `tbf` holds the rate in each direction; the delay is made by
a forwarding process (`tests/system/delay.py`), for `netem` is not in every kernel. Needs root, `ip` and `tc`.
"""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from shared.processes.supervisor import free_port

FORWARDER = Path(__file__).with_name("delay.py")
NETWORKS = IPv4Address(
    "198.18.0.0"
)  # set aside for measurements (RFC 2544); each process takes four addresses
BUCKET = ("burst", "16kb", "latency", "400ms")  # what may go at once, and how long the rest may queue


@dataclass(frozen=True)
class Link:
    """A namespace and its way to the hub; nothing else can be reached from there."""

    namespace: str
    outside: str  # name of the cable's end on this side
    host: str
    port: int

    @property
    def address(self) -> str:
        """The host:port that a site in the namespace dials."""
        return f"{self.host}:{self.port}"

    @property
    def words(self) -> tuple[str, ...]:
        """What a command begins with to run in the namespace; no proxy for the outside is in between."""
        return ("ip", "netns", "exec", self.namespace, "env", f"no_proxy={self.host}")

    def carried_bytes(self) -> dict[str, int]:
        """Return the bytes carried so far, with all headers, to and from the site."""
        counts = Path("/sys/class/net") / self.outside / "statistics"
        return {
            way: int((counts / f"{end}_bytes").read_text())
            for way, end in (("to the site", "tx"), ("from the site", "rx"))
        }


@contextmanager
def thin_cable(bits_per_second: int) -> Iterator[Link]:
    """Make a namespace with one way out, of that rate in each direction; `OSError` says why there can be none."""
    number = os.getpid() % 16384
    near, far = (str(NETWORKS + 4 * number + end) for end in (1, 2))
    link = Link(f"rounds-{number}", f"rounds{number}", near, free_port())
    inside = ("-n", link.namespace)
    bucket = ("root", "tbf", "rate", f"{bits_per_second}bit", *BUCKET)
    with ExitStack() as undo:
        run("ip", "netns", "add", link.namespace)
        undo.callback(run, "ip", "netns", "del", link.namespace)
        run("ip", "link", "add", link.outside, "type", "veth", "peer", "name", "hub", "netns", link.namespace)
        undo.callback(run, "ip", "link", "del", link.outside)
        for place, name, address in (((), link.outside, near), (inside, "hub", far)):
            run("ip", *place, "address", "add", f"{address}/30", "dev", name)
            run("ip", *place, "link", "set", name, "up")
            run("tc", *place, "qdisc", "add", "dev", name, *bucket)
        run("ip", *inside, "link", "set", "lo", "up")  # the node talks to its own apps there
        yield link


@contextmanager
def slow_link(target: str, *, bits_per_second: int, delay_seconds: float) -> Iterator[Link]:
    """Make a link to `target` (host:port) of that rate, and that delay, in each direction; gone afterwards."""
    with thin_cable(bits_per_second) as link:
        words = [sys.executable, str(FORWARDER), link.address, target, str(delay_seconds)]
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        try:
            wait_for(link, process)
            yield link
        finally:
            process.terminate()
            process.wait()


def wait_for(link: Link, process: "subprocess.Popen[bytes]") -> None:
    """Wait until the forwarding process listens."""
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection((link.host, link.port), timeout=1).close()
        except ConnectionRefusedError:
            assert process.poll() is None, "the forwarding process ended"
            assert time.monotonic() < end, "the forwarding process does not listen"
            time.sleep(0.1)
        else:
            return


def run(*words: str) -> None:
    """Run a command to its end; `OSError` with what it said where it is missing or failed."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")
