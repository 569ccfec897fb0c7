"""The dashboard behind the hub's own nginx: which names it answers to, and what cannot be asked beside it."""

from pathlib import Path

import pytest

from server.dashboard.http.listen_address import Door
from server.hub.certificates import Names
from server.hub.hub_folder import make_hub
from server.services.listen_addresses import Doors, behind_own_proxy
from shared.errors import ConfigError


def test_the_dashboard_answers_to_the_names_of_the_hubs_certificate(tmp_path: Path) -> None:
    """Cookies are for TLS alone, hosts are those of the certificate and this machine, and nginx alone is believed."""
    hub = make_hub(
        tmp_path / "hub", "lungs", "hub.example.org:8443", Names.of(["hub.example.org"], ["192.0.2.7"])
    )
    door = behind_own_proxy(Door("127.0.0.1:8470"), hub.names())
    assert door.settings.secure
    assert door.settings.hosts == ("hub.example.org", "192.0.2.7", "localhost", "127.0.0.1")
    assert (door.proxy, door.listen) == ("127.0.0.1", "127.0.0.1:8470")
    door.check()
    named = behind_own_proxy(Door("127.0.0.1:8470", names=("audit.example.org",)), hub.names())
    assert named.settings.hosts == ("audit.example.org",)


@pytest.mark.parametrize(
    "door",
    [
        Door("127.0.0.1:8470", certificate=Path("a.crt"), key=Path("a.key")),
        Door("127.0.0.1:8470", proxy="192.0.2.1"),
        Door("0.0.0.0:8470"),
    ],
)
def test_one_way_for_readers_is_enough(door: Door) -> None:
    """A dashboard with TLS, a proxy or an address for others of its own is not put behind the hub's nginx as well."""
    with pytest.raises(ConfigError, match=r"--readers-listen: .* leave them out"):
        behind_own_proxy(door, ("hub.example.org",))


@pytest.mark.parametrize("readers", ["8446", "0.0.0.0:", "0.0.0.0:70000", "0.0.0.0:eight"])
def test_where_readers_come_is_an_address_and_a_port(readers: str) -> None:
    """Anything else is one sentence with the option."""
    doors = Doors("0.0.0.0:8443", 8000, "127.0.0.1:8444", "", Door("127.0.0.1:8470"), readers=readers)
    with pytest.raises(ConfigError, match=r"--readers-listen is .* allowed is ADDRESS:PORT"):
        doors.check()


def test_no_port_is_wanted_twice() -> None:
    """Readers at the sites' port are refused before anything starts."""
    doors = Doors("0.0.0.0:8443", 8000, "127.0.0.1:8444", "", Door("127.0.0.1:8470"), readers="0.0.0.0:8443")
    with pytest.raises(ConfigError, match="--readers-listen: has port 8443, --listen has the same"):
        doors.check()
