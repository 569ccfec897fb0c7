"""The hospital's two private keys: made here, kept here, never sent.

In: a folder. Out: `node.key` (P-384, OpenSSH form: Flower's SuperNode proves with it that it is this site),
`approval.key` (Ed25519, PKCS8: signs what the hospital approves), and the introduction that holds their public halves.
"""

from datetime import UTC, datetime
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from shared.errors import TrustError
from shared.trust.private_files import private_folder, write_file
from shared.trust.site_introduction import ApprovalKey, Introduction, NodeKey, introduce

NODE_FILE, APPROVAL_FILE = "node.key", "approval.key"


def make_keys(keys_dir: Path) -> None:
    """Make both keys in a folder of their own; a key that is there is never overwritten (`ConfigError`)."""
    private_folder(keys_dir)
    write_file(keys_dir / NODE_FILE, _new_node_key())
    write_file(keys_dir / APPROVAL_FILE, _new_approval_key())


def replace_node_key(keys_dir: Path) -> None:
    """Make a new node key; the old one, lost or not, is gone."""
    write_file(keys_dir / NODE_FILE, _new_node_key(), replace=True)


def site_introduction(keys_dir: Path, site: str, now: datetime | None = None) -> Introduction:
    """Return the site's introduction, signed by both keys; `TrustError` where one is missing or of another kind."""
    made = (now or datetime.now(UTC)).date()
    return introduce(site, load_node_key(keys_dir), load_approval_key(keys_dir), made)


def load_node_key(keys_dir: Path) -> NodeKey:
    """Read the node key."""
    path = keys_dir / NODE_FILE
    try:
        key = load_ssh_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{path}: cannot be read as a key; {_PUT_BACK}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP384R1):
        raise TrustError(f"{path}: is no P-384 key; {_PUT_BACK}")
    return key


def load_approval_key(keys_dir: Path) -> ApprovalKey:
    """Read the approval key."""
    path = keys_dir / APPROVAL_FILE
    try:
        key = load_pem_private_key(path.read_bytes(), None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"{path}: cannot be read as a key; {_PUT_BACK}") from error
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise TrustError(f"{path}: is no Ed25519 key; {_PUT_BACK}")
    return key


_PUT_BACK = "check keys_dir, put it back from the backup, or make a new one with `rounds-site keys new`"


def _new_node_key() -> bytes:
    key = ec.generate_private_key(ec.SECP384R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _new_approval_key() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
