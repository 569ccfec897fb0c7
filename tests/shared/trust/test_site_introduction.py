"""The file by which a site introduces itself."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from shared.errors import TrustError
from shared.trust.site_introduction import Introduction, introduce, read_introduction

TODAY = date(2026, 11, 20)
NODE = ec.generate_private_key(ec.SECP384R1())
APPROVAL = ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a site's file as it is sent."""
    path = tmp_path / "north.pub"
    path.write_text(introduce("north", NODE, APPROVAL, TODAY).model_dump_json(indent=1))
    return path


def altered(file: Path, **fields: Any) -> Path:
    """Change fields of a file that was on its way."""
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))
    return file


def test_a_file_says_who_made_it(file: Path) -> None:
    """Name, keys and day come through; the fingerprint does not depend on the day or the signatures."""
    found = read_introduction(file)
    again = introduce("north", NODE, APPROVAL, date(2027, 1, 1))
    assert (found.site, found.made) == ("north", TODAY)
    assert found.fingerprint() == again.fingerprint()
    assert found.fingerprint() != introduce("south", NODE, APPROVAL, TODAY).fingerprint()


@pytest.mark.parametrize("field", ["site", "made", "node_key", "approval_key", "signature", "node_signature"])
def test_every_altered_field_is_noticed(file: Path, field: str) -> None:
    """A field taken from another site's genuine file breaks the signatures."""
    other = introduce("south", ec.generate_private_key(ec.SECP384R1()), ed25519.Ed25519PrivateKey.generate(),
                      date(2026, 1, 1))  # fmt: skip
    with pytest.raises(TrustError, match="altered or put together from two files") as caught:
        read_introduction(altered(file, **{field: other.model_dump(mode="json")[field]}))
    assert "\n" not in str(caught.value)


def test_a_node_key_of_somebody_else_cannot_be_claimed() -> None:
    """Who holds only the approval key cannot introduce another's node key as its own."""
    victim = introduce("north", NODE, APPROVAL, TODAY)
    thief = ed25519.Ed25519PrivateKey.generate()
    forged = introduce("thief", ec.generate_private_key(ec.SECP384R1()), thief, TODAY)
    claimed = Introduction(**(forged.model_dump() | {"node_key": victim.node_key}))
    with pytest.raises(TrustError, match="altered"):
        claimed.verify()


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"format": 2}, "no introduction of a site in format 1"),
        ({"site": "../hub"}, "no introduction of a site in format 1"),
        ({"extra": 1}, "no introduction of a site in format 1"),
        ({"node_key": "ssh-rsa x"}, "node_key: is no public key"),
        ({"signature": "%"}, "altered"),
    ],
)
def test_a_malformed_file_is_one_sentence(file: Path, fields: dict[str, Any], sentence: str) -> None:
    """Another format, a malformed name, key or signature is said in one line."""
    with pytest.raises(TrustError, match=sentence) as caught:
        read_introduction(altered(file, **fields))
    assert "\n" not in str(caught.value)


def test_keys_of_other_kinds_are_refused(tmp_path: Path) -> None:
    """A P-256 node key, two keys of one kind and a key with a comment are not taken."""
    weak = introduce("north", ec.generate_private_key(ec.SECP256R1()), APPROVAL, TODAY)
    with pytest.raises(TrustError, match="node_key: is no P-384 key"):
        weak.verify()
    good = introduce("north", NODE, APPROVAL, TODAY)
    with pytest.raises(TrustError, match="approval_key: is no Ed25519 key"):
        good.model_copy(update={"approval_key": good.node_key}).verify()
    with pytest.raises(TrustError, match="as OpenSSH writes it"):
        good.model_copy(update={"node_key": good.node_key + " me@north"}).verify()
    (tmp_path / "noise.pub").write_bytes(b"\xff\x00")
    with pytest.raises(TrustError, match=r"noise\.pub: is no introduction"):
        read_introduction(tmp_path / "noise.pub")
