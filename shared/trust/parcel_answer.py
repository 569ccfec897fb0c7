"""A hospital's answer to a parcel: the one small file that goes back to the hub.

In, at the site: two decisions, and the approval key that signs them. Out, at the hub: the same, checked. It holds
digests, signatures, the site's name and public keys, the day, and how many decisions on code and studies there were.
Nothing in it comes from patients or from site.yaml.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import Field

from shared.config.site import SiteName
from shared.config.strict_json import MAX_BYTES, one_meaning
from shared.config.values import Digest, Frozen
from shared.errors import TrustError
from shared.trust.bundle_signatures import Signatures, base64url, check_signatures, fingerprint, verified

_PURPOSE = b"teaching-rounds answer to a parcel 1\n"  # fits no other signature of the approval key


class ParcelAnswer(Frozen):
    """One site approves one study and one bundle, as one parcel offered them; `number` grows with each decision."""

    format: Literal[1] = 1
    ca: Digest = Field(description="SHA-256 of the CA certificate of the federation that is answered")
    parcel: Digest
    study: Digest
    bundle: Digest
    site: SiteName
    number: int = Field(ge=0)
    made: int = Field(ge=0, lt=1 << 40, description="seconds since 1970")
    signatures: Signatures
    signature: str = Field("", max_length=128, description="by the site's approval key over everything else")

    def body(self) -> bytes:
        """Return what the signature covers."""
        fields = self.model_dump(mode="json", exclude={"signature"})
        return _PURPOSE + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def signed(self, approval_key: Ed25519PrivateKey) -> Self:
        """Return the answer with its signature."""
        return self.model_copy(update={"signature": base64url(approval_key.sign(self.body()))})

    def to_json(self) -> bytes:
        """Return the file's contents."""
        return self.model_dump_json(indent=1).encode() + b"\n"


def read_answer(path: Path, key_of: Callable[[str], str]) -> ParcelAnswer:
    """Read and verify an answer; `key_of` gives the approval key that a site was admitted with, or refuses.

    `TrustError` unless just that site signed all of it, and approves in it what it says it approves.
    """
    try:
        with path.open("rb") as file:
            found = ParcelAnswer.model_validate_json(one_meaning(file.read(MAX_BYTES + 1)))
    except (OSError, ValueError) as error:
        raise TrustError(
            f"{path.name}: is no answer in format 1; give the file that `rounds-site study take` wrote"
        ) from error
    key = key_of(found.site)
    inner = found.signatures
    if fingerprint(inner.approval_key) != fingerprint(key):
        raise TrustError(
            f"{path.name}: is signed with another key than the one that {found.site} was admitted with; ask the "
            "hospital by telephone"
        )
    if not verified(key, found.body(), found.signature):
        raise TrustError(f"{path.name}: was altered after {found.site} signed it; ask for it again")
    check_signatures(inner, key, path.name)
    if inner.site != found.site or found.bundle not in {one.sha256 for one in inner.bundles}:
        raise TrustError(
            f"{path.name}: its signatures are not those of {found.site} on bundle {found.bundle[:12]}; ask for it again"
        )
    return found
