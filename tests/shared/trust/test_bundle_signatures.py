"""The file of a hospital's signatures: Flower's own code accepts what is in it, and nothing altered passes."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flwr.supercore.fab import Fab
from flwr.supernode.start_client_internal import _verify_fab

from shared.errors import ConfigError
from shared.trust.bundle_signatures import Signatures, key_id, openssh, read_signatures, sign_bundle

CONTENT = b"a bundle"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Keys:
    """A hospital's two keys."""

    def __init__(self) -> None:
        self.approval, self.code = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.public = openssh(self.approval.public_key())

    def file(self, folder: Path, **changed: Any) -> Path:
        fields = {
            "site": "north",
            "number": 3,
            "approval_key": self.public,
            "code_key": openssh(self.code.public_key()),
            "bundles": (sign_bundle(self.code, SHA256, 1_790_000_000),),
        }
        path = folder / "north.signatures.json"
        path.write_text(Signatures.model_validate(fields | changed).signed(self.approval).model_dump_json())
        return path


@pytest.fixture
def keys() -> Keys:
    return Keys()


def test_flower_accepts_the_signature_and_no_other(keys: Keys, tmp_path: Path) -> None:
    """Flower 1.41's own check takes the bundle under the hospital's key, and under no other key or content."""
    found = read_signatures(keys.file(tmp_path), keys.public)
    (one,) = found.bundles
    name = key_id(found.code_key)
    said = {
        name: json.dumps({"signed_at": one.signed_at, "signature": one.signature}),
        "valid_license": "Valid",
    }
    assert _verify_fab(Fab(SHA256, CONTENT, said), {name: found.code_key})
    assert not _verify_fab(Fab(SHA256, CONTENT + b" ", said), {name: found.code_key})
    assert not _verify_fab(Fab(SHA256, CONTENT, said), {name: keys.public})
    later = {name: json.dumps({"signed_at": one.signed_at + 1, "signature": one.signature})}
    assert not _verify_fab(Fab(SHA256, CONTENT, later), {name: found.code_key})


ALTERATIONS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another name": lambda file: file.update(site="south"),
    "another number": lambda file: file.update(number=9),
    "another bundle": lambda file: file["bundles"][0].update(sha256="0" * 64),
    "no bundle": lambda file: file.update(bundles=[]),
    "another code key": lambda file: file.update(code_key=openssh(Ed25519PrivateKey.generate().public_key())),
    "no signature": lambda file: file.update(signature=""),
}


@pytest.mark.parametrize("alteration", ALTERATIONS)
def test_an_altered_file_is_refused(keys: Keys, tmp_path: Path, alteration: str) -> None:
    """Every field is covered by the approval key's signature."""
    path = keys.file(tmp_path)
    content = json.loads(path.read_text())
    ALTERATIONS[alteration](content)
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match="was altered after"):
        read_signatures(path, keys.public)


def test_another_hospital_s_key_is_refused(keys: Keys, tmp_path: Path) -> None:
    """A file that is whole but signed with another key than the admitted one is refused."""
    with pytest.raises(ConfigError, match="another key than the one"):
        read_signatures(keys.file(tmp_path), Keys().public)


def test_a_wrong_signature_on_a_bundle_is_refused(keys: Keys, tmp_path: Path) -> None:
    """A file that the hospital signed, with a bundle that its code key did not, never reaches the nodes."""
    wrong = sign_bundle(keys.approval, SHA256, 1)
    with pytest.raises(ConfigError, match="signature on bundle"):
        read_signatures(keys.file(tmp_path, bundles=(wrong,)), keys.public)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 2}'])
def test_what_is_no_such_file_is_one_sentence(keys: Keys, tmp_path: Path, content: str) -> None:
    """Anything else is refused by its form."""
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ConfigError, match="is no signatures file"):
        read_signatures(tmp_path / "x.json", keys.public)


def test_equal_keys_have_equal_names(keys: Keys) -> None:
    """A remark behind a key does not change its name, and YAML leaves the name as it is."""
    name = key_id(keys.public)
    assert key_id(keys.public + " somebody@somewhere") == name
    assert yaml.safe_load(yaml.safe_dump({name: keys.public})) == {name: keys.public}
