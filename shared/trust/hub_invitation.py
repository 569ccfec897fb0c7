"""FEDERATION.json: the one small file by which the hub answers a site.

In, at the hub: its name, its address and the certificate of its own CA. Out: the same, checked. Nothing in it is
secret; that it is the right one rests on the fingerprint, which two people compare by telephone.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import Field

from shared.config.site import HubAddress
from shared.config.strict_json import one_meaning
from shared.config.values import Frozen
from shared.errors import TrustError

FEDERATION_NAME = r"^[A-Za-z0-9][A-Za-z0-9 ._-]{0,39}$"


class Invitation(Frozen):
    """What a site needs to know of a federation; the fingerprint is the SHA-256 of the CA's certificate (DER)."""

    format: Literal[1] = 1
    federation: str = Field(pattern=FEDERATION_NAME)
    address: HubAddress
    ca: str
    fingerprint: str = Field(pattern=r"^[0-9a-f]{64}$")

    @classmethod
    def of(cls, federation: str, address: str, ca: bytes) -> Self:
        """Make an invitation around a CA certificate (PEM)."""
        digest = x509.load_pem_x509_certificate(ca).fingerprint(SHA256()).hex()
        return cls(federation=federation, address=address, ca=ca.decode(), fingerprint=digest)

    def to_json(self) -> bytes:
        """Return the file's contents."""
        return json.dumps(self.model_dump(mode="json"), indent=1).encode() + b"\n"

    def verify(self, at: datetime) -> None:
        """Raise `TrustError` unless the certificate is a CA's, is the one of the fingerprint, and holds at a time."""
        try:
            ca = x509.load_pem_x509_certificate(self.ca.encode())
            is_ca = ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        except (ValueError, x509.ExtensionNotFound) as error:
            raise TrustError(
                "ca: is no certificate of a CA; ask the hub for FEDERATION.json again"
            ) from error
        if not is_ca:
            raise TrustError("ca: is a certificate, but of no CA; ask the hub for FEDERATION.json again")
        if ca.fingerprint(SHA256()).hex() != self.fingerprint:
            raise TrustError(
                "fingerprint: is not that of the certificate beside it, so the file was altered; ask the hub again"
            )
        if not ca.not_valid_before_utc <= at <= ca.not_valid_after_utc:
            raise TrustError(
                f"ca: holds from {ca.not_valid_before_utc:%Y-%m-%d} to {ca.not_valid_after_utc:%Y-%m-%d}, today is "
                f"{at:%Y-%m-%d}; set this machine's clock or ask the hub for a new federation file"
            )


def read_invitation(path: Path, at: datetime | None = None) -> Invitation:
    """Read and verify a federation's file; `TrustError` says what is wrong with it."""
    found = parse_invitation(path)
    found.verify(at or datetime.now(UTC))
    return found


def parse_invitation(path: Path) -> Invitation:
    """Read a federation's file without a look at its certificate."""
    try:
        return Invitation.model_validate_json(one_meaning(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise TrustError(
            f"{path.name}: is no federation file in format 1; ask the hub for what `rounds-hub invite` wrote"
        ) from error
