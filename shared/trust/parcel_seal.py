"""The seal of a parcel: the hub signs what is in it with the key whose certificate each site believes already.

In: the list of contents as text, the hub's key and certificate. Out: certificate and signature as text, and the answer
whether both are the hub's that a site has joined. No new key and no new trust: who has this key is the hub to every
site, and a site believes just the CA whose words a person compared.
"""

import base64
import binascii
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field

from shared.config.values import Frozen
from shared.errors import TrustError
from shared.trust.hub_certificate import host_of, why_not_believed

# Longer than the 32 bytes that a TLS client chooses of what the same key signs in a handshake (RFC 8446 begins with 64
# spaces), so that no handshake can be passed off as a parcel.
_CONTEXT = b"Teaching Rounds: contents of a parcel from the hub to its sites, format 1\n"


class Seal(Frozen):
    """The hub's certificate (PEM), and its signature over the contents (ECDSA, SHA-384) in base64."""

    certificate: str = Field(max_length=8192)
    signature: str = Field(max_length=256)


class Trusted(Frozen):
    """The hub that a site has joined: the CA's certificate (PEM), and the address that the site dials."""

    ca: str
    address: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA's certificate: by it people know the federation."""
        return x509.load_pem_x509_certificate(self.ca.encode()).fingerprint(SHA256()).hex()


def seal(contents: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> Seal:
    """Sign contents as the hub."""
    signature = key.sign(_CONTEXT + contents.encode(), ec.ECDSA(SHA384()))
    return Seal(
        certificate=certificate.public_bytes(Encoding.PEM).decode(),
        signature=base64.b64encode(signature).decode(),
    )


def require_seal(contents: str, sealed: Seal, trusted: Trusted, at: datetime) -> None:
    """Raise `TrustError` unless the hub that this site has joined signed these contents, each in its one spelling."""
    pem = sealed.certificate.encode()
    if why := why_not_believed(trusted.ca.encode(), pem, host_of(trusted.address), at):
        raise TrustError(
            f"parcel: is not sealed by the hub that this site has joined at {trusted.address} ({why}); have the hub "
            "offer the study again, by `rounds-hub study offer` after `rounds-hub renew` where its certificate ended"
        )
    certificate = x509.load_pem_x509_certificate(pem)
    key = certificate.public_key()
    try:
        signature = base64.b64decode(sealed.signature, validate=True)
        one_spelling = (
            base64.b64encode(signature).decode() == sealed.signature
            and certificate.public_bytes(Encoding.PEM) == pem
        )
        if not one_spelling or not isinstance(key, ec.EllipticCurvePublicKey):
            raise InvalidSignature
        key.verify(signature, _CONTEXT + contents.encode(), ec.ECDSA(SHA384()))
    except (InvalidSignature, binascii.Error) as error:
        raise TrustError(
            "parcel: its seal does not fit its contents, so it was altered; ask the hub for it again"
        ) from error
