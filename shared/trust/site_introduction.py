"""NAME.pub: the one small file by which a site introduces itself to the hub.

In, at the site: its two private keys. Out: two public keys under one name, signed by both, so whoever made the file
holds both. It names the site and the day; nothing in it is secret and nothing comes from patients.
"""

import base64
import binascii
import hashlib
import json
from datetime import date
from pathlib import Path
from typing import Literal

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from shared.config.site import SiteName
from shared.config.strict_json import one_meaning
from shared.config.values import Frozen
from shared.errors import TrustError

NodeKey = ec.EllipticCurvePrivateKey
ApprovalKey = ed25519.Ed25519PrivateKey
_CONTEXT = b"teaching-rounds site introduction 1\n"  # a signature made for anything else fits nothing here


class Introduction(Frozen):
    """A site's name and public keys; keys in OpenSSH text, signatures in base64."""

    format: Literal[1] = 1
    site: SiteName
    node_key: str
    approval_key: str
    made: date
    signature: str = ""
    node_signature: str = ""

    def signed_bytes(self) -> bytes:
        """Return what both keys sign: all fields but the signatures, in one spelling."""
        fields = self.model_dump(mode="json", exclude={"signature", "node_signature"})
        return _CONTEXT + json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()

    def fingerprint(self) -> str:
        """Return the SHA-256 of name and keys, which hub and site compare by telephone: 64 hexadecimal digits."""
        same = self.model_copy(update={"made": date.min})
        return hashlib.sha256(same.signed_bytes()).hexdigest()

    def verify(self) -> None:
        """Raise `TrustError` unless the keys are of the right kinds and both signed every field."""
        node = _public_key(self.node_key, "node_key")
        approval = _public_key(self.approval_key, "approval_key")
        if not isinstance(node, ec.EllipticCurvePublicKey) or not isinstance(node.curve, ec.SECP384R1):
            raise TrustError("node_key: is no P-384 key; have the site make its keys with `rounds-site init`")
        if not isinstance(approval, ed25519.Ed25519PublicKey):
            raise TrustError(
                "approval_key: is no Ed25519 key; have the site make its keys with `rounds-site init`"
            )
        try:
            approval.verify(base64.b64decode(self.signature, validate=True), self.signed_bytes())
            node.verify(
                base64.b64decode(self.node_signature, validate=True), self.signed_bytes(), ec.ECDSA(SHA384())
            )
        except (InvalidSignature, binascii.Error) as error:
            raise TrustError(
                f"introduction of {self.site}: its signatures do not fit its contents, so it was altered or put "
                "together from two files; have the site send its .pub file again"
            ) from error


def introduce(site: str, node: NodeKey, approval: ApprovalKey, made: date) -> Introduction:
    """Return a site's introduction, signed by both keys."""
    bare = Introduction(
        site=site,
        node_key=ssh_text(node.public_key()),
        approval_key=ssh_text(approval.public_key()),
        made=made,
    )
    signed = bare.signed_bytes()
    return bare.model_copy(
        update={
            "signature": base64.b64encode(approval.sign(signed)).decode(),
            "node_signature": base64.b64encode(node.sign(signed, ec.ECDSA(SHA384()))).decode(),
        }
    )


def read_introduction(path: Path) -> Introduction:
    """Read and verify a .pub file; `TrustError` says what is wrong with it."""
    try:
        found = Introduction.model_validate_json(one_meaning(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise TrustError(
            f"{path.name}: is no introduction of a site in format 1; ask for the .pub file that "
            "`rounds-site init` made"
        ) from error
    found.verify()
    return found


def ssh_text(key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    """Return a public key as OpenSSH writes it, without a comment."""
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _public_key(text: str, field: str) -> object:
    """Return the key; only its one spelling is taken, so that equal keys are equal texts."""
    try:
        key = load_ssh_public_key(text.encode())
        if isinstance(key, (ec.EllipticCurvePublicKey, ed25519.Ed25519PublicKey)) and ssh_text(key) == text:
            return key
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{field}: is no public key; have the site send its .pub file again") from error
    raise TrustError(
        f"{field}: is no EC or Ed25519 key as OpenSSH writes it; have the site send its .pub again"
    )
