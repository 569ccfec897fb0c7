"""Whether a site believes a certificate to be its hub's: the question of each connection, and of each parcel.

In: the one CA that the site believes, a certificate, the name under which the site dials the hub, a time. Out: nothing,
or why not. Only public things pass here.
"""

from datetime import datetime
from ipaddress import ip_address

from cryptography import x509
from cryptography.x509 import verification


def why_not_believed(ca_pem: bytes, certificate_pem: bytes, host: str, at: datetime) -> str:
    """Return why a site that believes this CA alone would not believe this hub at this time; "" where it would."""
    try:
        store = verification.Store([x509.load_pem_x509_certificate(ca_pem)])
        certificate = x509.load_pem_x509_certificate(certificate_pem)
    except ValueError as error:
        return str(error)
    try:
        subject: x509.IPAddress | x509.DNSName = x509.IPAddress(ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    verifier = verification.PolicyBuilder().store(store).time(at).build_server_verifier(subject)
    try:
        verifier.verify(certificate, [])
    except verification.VerificationError as error:
        return str(error)
    return ""


def host_of(address: str) -> str:
    """Return the host of `host:port`, without the brackets of an IPv6 address.

    >>> host_of("hub.example.org:8443"), host_of("[::1]:8443")
    ('hub.example.org', '::1')
    """
    return address.rpartition(":")[0].strip("[]")
