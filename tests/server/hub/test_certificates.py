"""The federation's CA and the hub's certificate, tried by the verifier of `cryptography` and by real TLS."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from server.hub.certificates import (
    CA_DAYS,
    HUB_DAYS,
    Names,
    Pair,
    make_authority,
    make_hub_certificate,
    names_of,
    read_pair,
    verify_hub_certificate,
)
from shared.errors import ConfigError, TrustError

NOW = datetime.now(UTC)
NAMES = Names.of(["hub.example.org"], ["192.0.2.7"])
CA = make_authority("lungs", NOW)
HUB = make_hub_certificate(CA, "lungs", NAMES, NOW)


def handshake(folder: Path, hub: Pair, trusted: Pair, host: str) -> None:
    """Let a site dial a hub: both sides of a real TLS handshake, their bytes carried by hand."""
    (folder / "hub.pem").write_bytes(hub.certificate_pem() + hub.key_pem())
    server_rules = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_rules.load_cert_chain(folder / "hub.pem")
    site_rules = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # as Flower makes it
    site_rules.load_verify_locations(cadata=trusted.certificate_pem().decode())
    to_site, to_hub = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_rules.wrap_bio(to_hub, to_site, server_side=True)
    site = site_rules.wrap_bio(to_site, to_hub, server_hostname=host)
    waiting = [site, server]
    while waiting:
        one = waiting.pop(0)
        try:
            one.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(one)


@pytest.mark.parametrize("host", ["hub.example.org", "192.0.2.7", "localhost", "127.0.0.1"])
def test_the_hub_is_believed_under_every_name_given(tmp_path: Path, host: str) -> None:
    """Names, addresses and the hub's own machine pass the verifier and a real handshake."""
    verify_hub_certificate(CA.certificate_pem(), HUB.certificate_pem(), host, NOW)
    handshake(tmp_path, HUB, CA, host)


def test_another_ca_of_the_same_name_is_not_believed(tmp_path: Path) -> None:
    """A hub under a CA that merely bears the same name is refused."""
    other = make_authority("lungs", NOW)
    fake = make_hub_certificate(other, "lungs", NAMES, NOW)
    with pytest.raises(TrustError, match=r"a site would not believe it for hub\.example\.org"):
        verify_hub_certificate(CA.certificate_pem(), fake.certificate_pem(), "hub.example.org", NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, fake, CA, "hub.example.org")


def test_an_expired_certificate_is_not_believed(tmp_path: Path) -> None:
    """A certificate that ended yesterday is refused, though its CA holds."""
    past = NOW - timedelta(days=30)
    ca = make_authority("lungs", past)
    hub = make_hub_certificate(ca, "lungs", NAMES, past, days=29)
    verify_hub_certificate(ca.certificate_pem(), hub.certificate_pem(), "hub.example.org", past)
    with pytest.raises(TrustError, match="rounds-hub renew"):
        verify_hub_certificate(ca.certificate_pem(), hub.certificate_pem(), "hub.example.org", NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(tmp_path, hub, ca, "hub.example.org")


@pytest.mark.parametrize("host", ["evil.example.org", "sub.hub.example.org", "192.0.2.8"])
def test_a_name_that_was_not_given_is_not_believed(tmp_path: Path, host: str) -> None:
    """Another host, a sub-domain and another address are refused."""
    with pytest.raises(TrustError):
        verify_hub_certificate(CA.certificate_pem(), HUB.certificate_pem(), host, NOW)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(tmp_path, HUB, CA, host)


def test_a_stolen_hub_key_makes_no_further_certificates(tmp_path: Path) -> None:
    """The hub's own certificate is no CA: what its key signs is refused."""
    forged = make_hub_certificate(HUB, "lungs", Names.of(["evil.example.org"], []), NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, forged, CA, "evil.example.org")


def test_times_are_as_documented() -> None:
    """CA ten years, hub 397 days, both from a day ago; a certificate never outlives its CA."""
    for pair, days in ((CA, CA_DAYS), (HUB, HUB_DAYS)):
        assert abs(pair.certificate.not_valid_after_utc - NOW - timedelta(days=days)) < timedelta(seconds=1)
        assert abs(NOW - pair.certificate.not_valid_before_utc - timedelta(days=1)) < timedelta(seconds=1)
    assert (CA_DAYS, HUB_DAYS) == (3653, 397)
    late = NOW + timedelta(days=CA_DAYS - 10)
    last = make_hub_certificate(CA, "lungs", NAMES, late)
    assert last.certificate.not_valid_after_utc <= CA.certificate.not_valid_after_utc
    with pytest.raises(ConfigError, match="--new-authority"):
        make_hub_certificate(CA, "lungs", NAMES, NOW + timedelta(days=CA_DAYS))


@pytest.mark.parametrize(
    ("dns", "ips", "sentence"),
    [
        ([], [], "--dns and --ip: none given"),
        ([], ["hub.example.org"], "--ip: .*; give an address such as"),
        (["https://hub"], [], "--dns is 'https://hub', allowed is a whole host name"),
        (["*.example.org"], [], r"--dns is '\*.example.org', allowed is"),
        (["häb.example.org"], [], "allowed is a whole host name"),
    ],
)
def test_a_malformed_name_is_one_sentence(dns: list[str], ips: list[str], sentence: str) -> None:
    """No name at all, a name for an address, a URL, a wildcard and a name outside ASCII are each told."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        Names.of(dns, ips)
    assert "\n" not in str(caught.value)


def test_names_are_read_back_from_a_certificate() -> None:
    """What renewal keeps is what was given, without this machine's own names."""
    assert names_of(HUB.certificate) == NAMES


def test_a_key_of_another_certificate_is_noticed() -> None:
    """Key and certificate of different backups do not pass as a pair, nor does noise."""
    assert read_pair(HUB.key_pem(), HUB.certificate_pem(), "tls").certificate == HUB.certificate
    with pytest.raises(TrustError, match="tls: the key is not that of the certificate"):
        read_pair(CA.key_pem(), HUB.certificate_pem(), "tls")
    with pytest.raises(TrustError, match="ca: key or certificate cannot be read"):
        read_pair(b"", CA.certificate_pem(), "ca")
