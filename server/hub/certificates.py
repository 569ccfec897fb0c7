"""The federation's own CA with the hub's certificate under it, and the feed's CA with those of senders of records.

In: names, dates and keys. Out: certificates (PEM) and the hub's private keys, which never leave the hub. Sites believe
the federation's CA alone, so a certificate of any other CA, however well known, does not make a hub. The feed's CA
signs clients only and no site believes it: a sender of records never passes as the hub, nor the hub or a site as one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from shared.errors import ConfigError, TrustError
from shared.trust.hub_certificate import why_not_believed

CA_DAYS, HUB_DAYS, SENDER_DAYS = 3653, 397, 397
SENDER_URI = "rounds:study/"  # followed by the name of the run whose records the certificate's owner may send
_CLOCK_SLACK = timedelta(days=1)  # a site whose clock is behind must not see a certificate of tomorrow
_THIS_MACHINE = ("localhost", "127.0.0.1")  # the hub's own commands reach its SuperLink so
Address = IPv4Address | IPv6Address


@dataclass(frozen=True)
class Names:
    """All that the hub's certificate answers to."""

    dns: tuple[str, ...]
    ips: tuple[Address, ...]

    @classmethod
    def of(cls, dns: Sequence[str], ips: Sequence[str]) -> "Names":
        """Check names as typed; `ConfigError` where there is none or one is malformed."""
        if not dns and not ips:
            raise ConfigError(
                "--dns and --ip: none given, needed is every name and address by which sites reach the hub"
            )
        try:
            addresses = tuple(ip_address(one) for one in ips)
        except ValueError as error:
            raise ConfigError(
                f"--ip: {error}; give an address such as 192.0.2.7, a name goes to --dns"
            ) from error
        for one in dns:
            if not one.isascii() or not one or any(sign in one for sign in " /:*"):
                raise ConfigError(
                    f"--dns is {one!r}, allowed is a whole host name such as hub.example.org; correct it"
                )
        return cls(tuple(dict.fromkeys(one.lower() for one in dns)), tuple(dict.fromkeys(addresses)))

    def general(self) -> list[x509.GeneralName]:
        """Return the names of the certificate, this machine's own among them."""
        dns = dict.fromkeys((*self.dns, _THIS_MACHINE[0]))
        ips = dict.fromkeys((*self.ips, ip_address(_THIS_MACHINE[1])))
        return [*map(x509.DNSName, dns), *map(x509.IPAddress, ips)]

    def hold(self, host: str) -> bool:
        """Whether a site may dial this host name or address."""
        try:
            return ip_address(host.strip("[]")) in self.ips
        except ValueError:
            return host.lower() in self.dns


@dataclass(frozen=True)
class Pair:
    """A private key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    def key_pem(self) -> bytes:
        """Return the private key, not encrypted: Flower's processes read it without a person."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def certificate_pem(self) -> bytes:
        """Return the certificate."""
        return self.certificate.public_bytes(Encoding.PEM)


def make_authority(federation: str, now: datetime, days: int = CA_DAYS, what: str = "federation") -> Pair:
    """Make a CA that may sign no further CA."""
    key = ec.generate_private_key(ec.SECP384R1())
    subject = _named(f"{federation} {what} CA")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        _dated(subject, subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Pair(key, builder.sign(key, SHA384()))


def make_hub_certificate(
    authority: Pair, federation: str, names: Names, now: datetime, days: int = HUB_DAYS
) -> Pair:
    """Make a new key and certificate for the hub; it never outlives its CA."""
    left = (authority.certificate.not_valid_after_utc - now).days
    if left < 1:
        raise ConfigError(
            f"ca.crt: ended on {authority.certificate.not_valid_after_utc:%Y-%m-%d}; make a new one with "
            "`rounds-hub renew --new-authority`, and every site joins again"
        )
    return _signed(
        authority, f"{federation} hub", ExtendedKeyUsageOID.SERVER_AUTH, names.general(), now, min(days, left)
    )


def make_sender_certificate(authority: Pair, run: str, now: datetime, days: int = SENDER_DAYS) -> Pair:
    """Make a key and certificate for whoever sends one run's records; it never outlives its CA."""
    left = (authority.certificate.not_valid_after_utc - now).days
    if left < 1:
        raise ConfigError(
            f"feed/ca.crt: ended on {authority.certificate.not_valid_after_utc:%Y-%m-%d}; move the folder `feed` away, "
            "and the next `rounds-hub serve` makes another"
        )
    uri: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"{SENDER_URI}{run}")]
    return _signed(
        authority, f"sender of {run}"[:64], ExtendedKeyUsageOID.CLIENT_AUTH, uri, now, min(days, left)
    )


def sender_of(certificate: x509.Certificate) -> str | None:
    """Return the run whose records a certificate's owner may send; None where it names none, or several."""
    try:
        held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
    runs = [
        uri.removeprefix(SENDER_URI)
        for uri in held.get_values_for_type(x509.UniformResourceIdentifier)
        if uri.startswith(SENDER_URI)
    ]
    return runs[0] if len(runs) == 1 and runs[0] else None


def read_pair(key_pem: bytes, certificate_pem: bytes, what: str) -> Pair:
    """Read a key and its certificate; `TrustError` unless they belong together."""
    try:
        key = load_pem_private_key(key_pem, None)
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError as error:
        raise TrustError(
            f"{what}: key or certificate cannot be read; put them back from the backup"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise TrustError(f"{what}: the key is not that of the certificate; put both back from one backup")
    return Pair(key, certificate)


def names_of(certificate: x509.Certificate) -> Names:
    """Return the names that a hub's certificate was made for, without those of its own machine."""
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    dns = tuple(one for one in held.get_values_for_type(x509.DNSName) if one not in _THIS_MACHINE)
    ips = tuple(one for one in held.get_values_for_type(x509.IPAddress) if str(one) not in _THIS_MACHINE)
    return Names(dns, tuple(one for one in ips if isinstance(one, Address)))


def verify_hub_certificate(ca_pem: bytes, certificate_pem: bytes, host: str, at: datetime) -> None:
    """Raise `TrustError` unless a site that believes this CA would believe this hub at this time."""
    if why := why_not_believed(ca_pem, certificate_pem, host, at):
        raise TrustError(
            f"hub certificate: a site would not believe it for {host} ({why}); make a new one with "
            "`rounds-hub renew`"
        )


def _signed(
    authority: Pair,
    name: str,
    usage: x509.ObjectIdentifier,
    names: list[x509.GeneralName],
    now: datetime,
    days: int,
) -> Pair:
    """Make a key, and a certificate for one use that the authority signs."""
    key = ec.generate_private_key(ec.SECP384R1())
    issuer = authority.key.public_key()
    signs = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        _dated(_named(name), authority.certificate.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Pair(key, builder.sign(authority.key, SHA384()))


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _dated(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SLACK)
        .not_valid_after(now + timedelta(days=days))
    )
