"""The hospital's approval key, and the key that signs bundles for its node.

In: the private key in `keys_dir`. Out: signatures. The private keys never leave; the public halves do.

Flower has no revocation: a bundle that was signed once stays acceptable for as long as its key is trusted. So bundles
are not signed with the approval key itself but with a code key derived from it and from the number of bundles
withdrawn so far. A withdrawal makes another code key; what is still approved is signed anew, and what was withdrawn
is not.
"""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from client.identity import site_keys
from shared.errors import ApprovalsError, TrustError


def load_approval_key(keys_dir: Path) -> Ed25519PrivateKey:
    """Read the hospital's key; `ApprovalsError` where it is missing or of another kind: decisions stand on it."""
    try:
        return site_keys.load_approval_key(keys_dir)
    except TrustError as error:
        raise ApprovalsError(str(error)) from error


def code_key(approval_key: Ed25519PrivateKey, num_withdrawn: int) -> Ed25519PrivateKey:
    """Return the key that signs bundles after so many withdrawals (HKDF-SHA256, RFC 5869)."""
    info = f"teaching-rounds code key {num_withdrawn}".encode()
    secret = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(
        approval_key.private_bytes_raw()
    )
    return Ed25519PrivateKey.from_private_bytes(secret)
