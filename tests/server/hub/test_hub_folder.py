"""The hub's folder: made whole, renewed, given a new CA, put back from a backup."""

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from server.hub.certificates import Names, verify_hub_certificate
from server.hub.hub_folder import HubFolder, make_hub, open_hub, renew, replace_authority, verify_hub
from server.services.hub_backup import back_up_hub, restore_hub
from shared.errors import ConfigError, TrustError
from shared.trust.hub_invitation import read_invitation
from shared.trust.private_files import open_to_others
from shared.trust.site_introduction import Introduction, introduce

HOST, ADDRESS = "hub.example.org", "hub.example.org:8000"
NAMES = Names.of([HOST], [])
NOW = datetime.now(UTC)
PHRASE = "twelve mild winters"


def believed(ca: bytes, hub: HubFolder, host: str = HOST, at: datetime = NOW) -> None:
    """Raise unless a site that joined with this CA would believe the hub."""
    verify_hub_certificate(ca, hub.certificate_file.read_bytes(), host, at)


def newcomer(name: str) -> Introduction:
    return introduce(
        name,
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        date(2026, 11, 20),
    )


@pytest.fixture
def hub(tmp_path: Path) -> HubFolder:
    """Make a hub."""
    return make_hub(tmp_path / "hub", "lungs", ADDRESS, NAMES)


def test_a_hub_is_made_whole_and_closed(hub: HubFolder) -> None:
    """All is there and fits together; only certificates and FEDERATION.json may be read by others."""
    verify_hub(open_hub(hub.path))
    readable = {path.name for path in hub.path.rglob("*") if open_to_others(path)}
    assert readable == {"FEDERATION.json", "ca.crt", "hub.crt"}
    assert len(bytes.fromhex(hub.superexec_secret.read_text())) == 32


def test_what_is_sent_to_sites_holds_no_secret(hub: HubFolder) -> None:
    """FEDERATION.json has five public fields, and a site reads from it the CA that believes the hub."""
    sent = json.loads(hub.invitation_file.read_text())
    assert sorted(sent) == ["address", "ca", "federation", "fingerprint", "format"]
    assert "PRIVATE" not in hub.invitation_file.read_text()
    believed(read_invitation(hub.invitation_file).ca.encode(), hub)


def test_a_second_hub_does_not_fall_on_the_first(hub: HubFolder) -> None:
    """Making a hub where one is changes nothing."""
    before = hub.ca_key.read_bytes()
    with pytest.raises(ConfigError, match="holds files already"):
        make_hub(hub.path, "lungs", ADDRESS, NAMES)
    assert hub.ca_key.read_bytes() == before


@pytest.mark.parametrize(
    "address", ["hub.example.org", "hub.example.org:0", "hub.example.org:70000", ":8000"]
)
def test_an_address_without_a_port_is_refused(tmp_path: Path, address: str) -> None:
    """Sites could not dial it, so nothing is made."""
    with pytest.raises(ConfigError, match=r"--address is .*, allowed is host:port"):
        make_hub(tmp_path / "hub", "lungs", address, NAMES)
    assert not (tmp_path / "hub").exists()


def test_an_address_that_the_certificate_does_not_name_is_refused(tmp_path: Path) -> None:
    """The address that sites dial must be among the names."""
    with pytest.raises(ConfigError, match=r"the certificate would not hold for 192\.0\.2\.7"):
        make_hub(tmp_path / "hub", "lungs", "192.0.2.7:8000", NAMES)


def test_renewal_needs_nothing_of_the_sites(tmp_path: Path) -> None:
    """Under the same CA a new key and certificate take the place of those that ended; FEDERATION.json is the same."""
    past = NOW - timedelta(days=100)
    hub = make_hub(tmp_path / "hub", "lungs", ADDRESS, NAMES, days=99, now=past)
    sites_ca, invitation, key = (
        hub.ca_file.read_bytes(), hub.invitation_file.read_bytes(), hub.key_file.read_bytes(),
    )  # fmt: skip
    with pytest.raises(TrustError, match="rounds-hub renew"):
        believed(sites_ca, hub)
    renew(hub)
    believed(sites_ca, hub)
    verify_hub(hub)
    assert hub.invitation_file.read_bytes() == invitation
    assert hub.key_file.read_bytes() != key


def test_a_hub_that_moves_keeps_its_ca(hub: HubFolder) -> None:
    """With a new address only FEDERATION.json changes, and its fingerprint stays."""
    sites_ca, fingerprint = hub.ca_file.read_bytes(), hub.invitation().fingerprint
    with pytest.raises(ConfigError, match=r"would not hold for new\.example\.org"):
        renew(hub, address="new.example.org:8443")
    renew(hub, address="new.example.org:8443", names=Names.of(["new.example.org"], []))
    believed(sites_ca, hub, "new.example.org")
    assert (hub.invitation().address, hub.invitation().fingerprint) == ("new.example.org:8443", fingerprint)
    verify_hub(hub)


def test_a_new_ca_puts_an_end_to_a_stolen_key(hub: HubFolder) -> None:
    """With a new CA the stolen certificate is no longer believed by sites that joined again; the list stays."""
    with hub.sites() as sites:
        sites.admit(newcomer("north"))
    stolen, old_ca = hub.certificate_file.read_bytes(), hub.ca_file.read_bytes()
    secret = hub.superexec_secret.read_bytes()
    hub.ca_key.unlink()
    with pytest.raises(ConfigError, match=r"ca\.key: cannot be read"):
        renew(hub)
    replace_authority(hub)
    verify_hub(hub)
    assert hub.superexec_secret.read_bytes() != secret
    new_ca = hub.ca_file.read_bytes()
    believed(new_ca, hub)
    for ca, certificate in ((new_ca, stolen), (old_ca, hub.certificate_file.read_bytes())):
        with pytest.raises(TrustError):
            verify_hub_certificate(ca, certificate, HOST, NOW)
    with hub.sites() as sites:
        assert [site.name for site in sites.admitted()] == ["north"]


def test_parts_of_two_hubs_are_noticed(hub: HubFolder, tmp_path: Path) -> None:
    """A key or an invitation put back from another hub is told before a SuperLink starts with it."""
    other = make_hub(tmp_path / "other", "lungs", ADDRESS, NAMES)
    shutil.copy(other.key_file, hub.key_file)
    with pytest.raises(TrustError, match="tls: the key is not that of the certificate"):
        verify_hub(hub)
    shutil.copy(other.invitation_file, hub.invitation_file)
    with pytest.raises(TrustError, match=r"FEDERATION\.json: names another CA"):
        verify_hub(hub)


def test_a_folder_without_a_hub_is_one_sentence(tmp_path: Path) -> None:
    """A folder in which no hub was made says what to do."""
    with pytest.raises(ConfigError, match="no hub was made there; run `rounds-hub init`"):
        open_hub(tmp_path)


def test_a_lost_hub_comes_back_from_its_backup(hub: HubFolder, tmp_path: Path) -> None:
    """After a restore sites believe the hub as before, its list is that of the backup, and it can renew."""
    with hub.sites() as sites:
        sites.admit(newcomer("north"))
        sites.admit(newcomer("south"))
        sites.remove("south")
        listed = sites.all()
    sites_ca = hub.ca_file.read_bytes()
    assert back_up_hub(hub, tmp_path / "hub.sealed", PHRASE) == 1
    shutil.rmtree(hub.path)
    back = restore_hub(tmp_path / "hub.sealed", tmp_path / "back", PHRASE)
    believed(sites_ca, back)
    assert not open_to_others(back.ca_key)
    with back.sites() as sites:
        assert sites.all() == listed
    renew(back)
    believed(sites_ca, back)
    with pytest.raises(ConfigError, match="is there already"):
        back_up_hub(back, tmp_path / "hub.sealed", PHRASE)


def test_a_wrong_passphrase_leaves_nothing_behind(hub: HubFolder, tmp_path: Path) -> None:
    """A backup that does not open makes no folder."""
    back_up_hub(hub, tmp_path / "hub.sealed", PHRASE)
    with pytest.raises(TrustError, match="does not open"):
        restore_hub(tmp_path / "hub.sealed", tmp_path / "back", "another passphrase")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"fingerprint": "0" * 64}, "fingerprint: is not that of the certificate beside it"),
        ({"ca": "nothing"}, "ca: is no certificate of a CA"),
        ({"format": 2}, "is no federation file in format 1"),
        ({"address": "hub"}, "is no federation file in format 1"),
    ],
)
def test_an_altered_federation_file_is_refused(hub: HubFolder, fields: dict[str, Any], sentence: str) -> None:
    """A fingerprint, certificate, format or address that does not fit is told in one line."""
    hub.invitation_file.write_text(json.dumps(json.loads(hub.invitation_file.read_text()) | fields))
    with pytest.raises(TrustError, match=sentence) as caught:
        read_invitation(hub.invitation_file)
    assert "\n" not in str(caught.value)


def test_a_federation_file_must_hold_a_ca_of_today(hub: HubFolder) -> None:
    """The hub's own certificate in the CA's place, and a CA that has ended, are refused."""
    sent = hub.invitation()
    with pytest.raises(TrustError, match="but of no CA"):
        sent.of("lungs", ADDRESS, hub.certificate_file.read_bytes()).verify(NOW)
    with pytest.raises(TrustError, match="ca: holds from"):
        sent.verify(NOW + timedelta(days=3660))
