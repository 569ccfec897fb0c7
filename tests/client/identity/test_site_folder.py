"""A site's folder: made, filled in, joined to a federation, given new keys."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from client.consent.key_rotation import replace_both_keys
from client.identity.site_folder import join_federation, make_site, write_introduction
from client.identity.site_keys import load_approval_key, load_node_key, replace_node_key, site_introduction
from server.hub.certificates import make_authority
from shared.config.files import read_site
from shared.errors import ConfigError, TrustError
from shared.trust.hub_invitation import Invitation
from shared.trust.private_files import open_to_others
from shared.trust.site_introduction import read_introduction


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make the site `north`."""
    make_site(tmp_path / "site", "north")
    return tmp_path / "site"


@pytest.fixture
def invitation() -> Invitation:
    """Return what a hub sends."""
    ca = make_authority("lungs", datetime.now(UTC)).certificate_pem()
    return Invitation.of("lungs", "hub.example.org:8000", ca)


def filled_in(site: Path, source: str = "/data/images", declared: str = "600") -> None:
    """Fill in site.yaml as a person does, in an editor."""
    text = (site / "site.yaml").read_text()
    text = text.replace("  source:  ", f"  source: {source}").replace(
        "declared_patients: ", f"declared_patients: {declared}"
    )
    (site / "site.yaml").write_text(text)


def test_keys_are_of_the_kinds_that_flower_and_approvals_need(site: Path) -> None:
    """A P-384 key in OpenSSH form and an Ed25519 key, closed to others; ssh-keygen reads the first."""
    assert load_node_key(site / "keys").curve.name == "secp384r1"
    assert len(load_approval_key(site / "keys").private_bytes_raw()) == 32
    assert (site / "keys/node.key").read_text().startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    keygen = shutil.which("ssh-keygen")
    if keygen:
        shown = subprocess.run(
            [keygen, "-y", "-f", site / "keys/node.key"], capture_output=True, text=True, check=True
        )
        assert shown.stdout.split()[:2] == site_introduction(site / "keys", "north").node_key.split()


def test_only_the_introduction_may_be_read_by_others(site: Path) -> None:
    """All but NAME.pub is closed, and NAME.pub holds no private key."""
    readable = {path.name for path in site.rglob("*") if open_to_others(path)}
    assert readable == {"north.pub"}
    sent = (site / "north.pub").read_bytes()
    assert load_approval_key(site / "keys").private_bytes_raw() not in sent
    assert b"PRIVATE" not in sent
    assert sorted(json.loads(sent)) == [
        "approval_key", "format", "made", "node_key", "node_signature", "signature", "site",
    ]  # fmt: skip
    assert (
        read_introduction(site / "north.pub").fingerprint()
        == site_introduction(site / "keys", "north").fingerprint()
    )


def test_a_new_site_yaml_says_what_is_to_be_filled_in(site: Path) -> None:
    """As made it is refused by the first empty field; filled in, it is a site that answers nothing yet."""
    with pytest.raises(ConfigError, match=r"site\.yaml: line 5: data\.source is None.*1 more to correct"):
        read_site(site / "site.yaml")
    filled_in(site)
    config = read_site(site / "site.yaml")
    assert (config.name, config.declared_patients) == ("north", 600)
    assert config.approved_studies == ()
    assert config.accepted_digests == {}
    assert not config.allow_without_privacy
    assert config.keys_dir == site / "keys"
    assert config.hub is None


def test_a_second_site_does_not_fall_on_the_first(site: Path) -> None:
    """Making a site where one is changes nothing."""
    before = {path: path.read_bytes() for path in site.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="a site was made there already"):
        make_site(site, "south")
    assert {path: path.read_bytes() for path in site.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["", "../north", "klinik süd", "-x", "n" * 41])
def test_a_malformed_name_makes_nothing(tmp_path: Path, name: str) -> None:
    """A name that could not be a site's is refused before a folder is made."""
    with pytest.raises(ConfigError, match=r"--name is .*, allowed are up to 40 letters"):
        make_site(tmp_path / "site", name)
    assert not (tmp_path / "site").exists()


def test_a_path_that_yaml_would_misread_is_refused(tmp_path: Path) -> None:
    """A colon or a hash in the folder's path would make another site.yaml of it."""
    with pytest.raises(ConfigError, match="FOLDER is"):
        make_site(tmp_path / "a: b #c", "north")


def test_joining_fills_in_the_hub_and_nothing_else(site: Path, invitation: Invitation) -> None:
    """What a person typed, comments too, stays as it was; the CA lies beside the keys."""
    filled_in(site)
    before = (site / "site.yaml").read_text()
    join_federation(site / "site.yaml", invitation)
    after = (site / "site.yaml").read_text()
    assert after.startswith(before.rstrip("\n"))
    config = read_site(site / "site.yaml")
    assert config.hub is not None
    assert config.hub.address == "hub.example.org:8000"
    assert config.hub.ca_file.read_text() == invitation.ca


def test_a_site_stays_with_its_federation(site: Path, invitation: Invitation) -> None:
    """Another CA is refused unless --replace is given; a new address under the same CA is taken."""
    join_federation(site / "site.yaml", invitation)
    other = Invitation.of(
        "lungs", "hub.example.org:8000", make_authority("lungs", datetime.now(UTC)).certificate_pem()
    )
    before = (site / "site.yaml").read_bytes()
    with pytest.raises(TrustError, match="filled in with another CA"):
        join_federation(site / "site.yaml", other)
    assert (site / "site.yaml").read_bytes() == before
    assert (site / "keys/ca.crt").read_text() == invitation.ca
    join_federation(site / "site.yaml", invitation.model_copy(update={"address": "new.example.org:1"}))
    assert yaml.safe_load((site / "site.yaml").read_text())["hub"]["address"] == "new.example.org:1"
    join_federation(site / "site.yaml", other, replace=True)
    assert (site / "keys/ca.crt").read_text() == other.ca


@pytest.mark.parametrize("text", [None, "- a list\n", "a: [", "\tx"])
def test_a_site_yaml_that_is_none_is_one_sentence(
    tmp_path: Path, invitation: Invitation, text: str | None
) -> None:
    """A missing file, a list and broken YAML are told; no CA is written."""
    if text is not None:
        (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"site\.yaml: (cannot be read|holds a list)"):
        join_federation(tmp_path / "site.yaml", invitation)
    assert not list(tmp_path.rglob("ca.crt"))


def test_a_new_node_key_leaves_the_approval_key(site: Path) -> None:
    """After a lost node key the site has another one, the same approval key, and an introduction that fits both."""
    old = site_introduction(site / "keys", "north")
    (site / "keys/node.key").unlink()
    with pytest.raises(TrustError, match=r"node\.key: cannot be read as a key"):
        site_introduction(site / "keys", "north")
    replace_node_key(site / "keys")
    new = write_introduction(site, site / "keys", "north")
    assert (new.approval_key, new.node_key != old.node_key) == (old.approval_key, True)
    assert read_introduction(site / "north.pub") == new
    assert not open_to_others(site / "keys/node.key")


def test_a_new_approval_key_brings_a_new_node_key(site: Path) -> None:
    """After a lost approval key both are new: the hub takes back both, and a node key never comes in twice."""
    old = site_introduction(site / "keys", "north")
    (site / "keys/approval.key").write_text("torn")
    with pytest.raises(TrustError, match=r"approval\.key: cannot be read as a key"):
        site_introduction(site / "keys", "north")
    replace_both_keys(site / "keys", site / "state", site / "head" / "ledger.approvals")
    new = site_introduction(site / "keys", "north")
    assert not {old.node_key, old.approval_key} & {new.node_key, new.approval_key}


def test_exchanged_key_files_are_noticed(site: Path) -> None:
    """A key of the wrong kind in the right place is told as such."""
    keys = site / "keys"
    shutil.copy(keys / "approval.key", keys / "node.key")
    with pytest.raises(TrustError, match=r"node\.key: cannot be read as a key|is no P-384 key"):
        load_node_key(keys)
