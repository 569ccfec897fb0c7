"""A hospital's signatures on app bundles: the one small file that it sends the hub, and how it is checked.

In: an Ed25519 key and digests. Out: public statements: which bundles this hospital lets run. Flower 1.41 checks a
bundle's signature over its time (8 bytes, big-endian seconds) and SHA-256 (flwr/supernode/start_client_internal.py);
the file around them is signed by the hospital's approval key.
"""

import base64
import hashlib
import json
import uuid
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key
from pydantic import Field

from shared.config.strict_json import one_meaning
from shared.config.values import Digest, Frozen
from shared.errors import ConfigError

MAX_FILE_BYTES = 1 << 20
_PURPOSE = (
    b"teaching-rounds signatures 1\n"  # no other signature of the approval key can be passed off as this
)


class CodeSignature(Frozen):
    """One bundle that a hospital approves, in the form in which Flower asks for it."""

    sha256: Digest
    signed_at: int = Field(ge=0, lt=1 << 63, description="seconds since 1970")
    signature: str = Field(max_length=100, description="base64url without padding")


class Signatures(Frozen):
    """All that a hospital approves now. `number` grows with each decision, so that an old file shows."""

    format: Literal[1] = 1
    site: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,39}$")
    number: int = Field(ge=0)
    approval_key: str = Field(description="OpenSSH text; signs this file")
    code_key: str = Field(description="OpenSSH text; signs bundles until one is withdrawn")
    bundles: tuple[CodeSignature, ...] = ()
    signature: str = Field("", description="by approval_key over everything else")

    def body(self) -> bytes:
        """Return what the file's signature covers."""
        fields = self.model_dump(mode="json", exclude={"signature"})
        return _PURPOSE + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def signed(self, approval_key: Ed25519PrivateKey) -> "Signatures":
        """Return this file with its signature."""
        return self.model_copy(update={"signature": base64url(approval_key.sign(self.body()))})


def read_signatures(path: Path, approval_key: str) -> Signatures:
    """Read and verify a hospital's file; `ConfigError` unless the named key and the code key signed what it says."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path.name}: is larger than {MAX_FILE_BYTES} bytes; it is no signatures file")
        found = Signatures.model_validate_json(one_meaning(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{path.name}: is no signatures file; the hospital makes one with `rounds-site code approve`"
        ) from error
    check_signatures(found, approval_key, path.name)
    return found


def check_signatures(found: Signatures, approval_key: str, file: str) -> None:
    """Raise `ConfigError` unless the named key signed what the file says, and its code key each bundle."""
    if fingerprint(found.approval_key) != fingerprint(approval_key):
        raise ConfigError(
            f"{file}: is signed with another key than the one that {found.site} was admitted with; ask the "
            "hospital by telephone"
        )
    if not verified(found.approval_key, found.body(), found.signature):
        raise ConfigError(f"{file}: was altered after {found.site} signed it; ask for it again")
    for one in found.bundles:
        if not verified(found.code_key, signed_message(one.sha256, one.signed_at), one.signature):
            raise ConfigError(f"{file}: the signature on bundle {one.sha256[:12]} is wrong; ask for it again")


def sign_bundle(code_key: Ed25519PrivateKey, sha256: str, signed_at: int) -> CodeSignature:
    """Sign a bundle's SHA-256 as Flower checks it."""
    signature = base64url(code_key.sign(signed_message(sha256, signed_at)))
    return CodeSignature(sha256=sha256, signed_at=signed_at, signature=signature)


def signed_message(sha256: str, signed_at: int) -> bytes:
    """Return what Flower expects to be signed: time, then digest."""
    return signed_at.to_bytes(8, "big") + bytes.fromhex(sha256)


def verified(public_key: str, message: bytes, signature: str) -> bool:
    """Tell whether a key (OpenSSH text) signed a message."""
    try:
        padded = signature + "=" * (-len(signature) % 4)
        public(public_key).verify(base64.b64decode(padded, altchars=b"-_", validate=True), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def public(text: str) -> Ed25519PublicKey:
    """Read an Ed25519 public key from OpenSSH text; `ConfigError` for anything else."""
    try:
        key = load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(
            "key: is no OpenSSH public key; give a line that begins with ssh-ed25519"
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError("key: is not of the kind ssh-ed25519; give the hospital's approval key")
    return key


def openssh(key: Ed25519PublicKey) -> str:
    """Return a public key as OpenSSH text."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def fingerprint(public_key: str) -> str:
    """Return the SHA-256 of a key, without the remark that may stand behind it."""
    return hashlib.sha256(public(public_key).public_bytes_raw()).hexdigest()


def key_id(public_key: str) -> str:
    """Return the name under which Flower looks a key up; made from the key, so that equal keys have equal names."""
    return f"fpk_{uuid.UUID(hex=fingerprint(public_key)[:32])}"


def base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
