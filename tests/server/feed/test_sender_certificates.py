"""The hub's list of who may send records, and the files with which they do."""

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from server.feed.credential import read_credential
from server.feed.sender_certificates import Senders
from server.hub.certificates import CA_DAYS, make_authority, make_sender_certificate, read_pair, sender_of
from shared.errors import ConfigError

NOW = datetime.now(UTC)
HUB_CA = make_authority("lungs", NOW).certificate_pem()


@pytest.fixture
def senders(tmp_path: Path) -> Senders:
    made = Senders(tmp_path / "feed")
    made.prepare("lungs")
    return made


def issued(senders: Senders, run: str = "lungs-1", **more: datetime) -> bytes:
    path = senders.issue_own(run, "127.0.0.1:8444", HUB_CA, **more)
    return read_credential(path).certificate.encode()


def test_a_certificate_names_one_run_and_is_for_clients_only(senders: Senders) -> None:
    """The run stands in its URI, and it may not serve."""
    certificate = x509.load_pem_x509_certificate(issued(senders))
    assert sender_of(certificate) == "lungs-1"
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_keys_are_for_one_account(senders: Senders) -> None:
    """CA key and the runs' files are 0600, their folders 0700."""
    issued(senders)
    files = [senders.ca_key, *senders.own.iterdir()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(senders.own.stat().st_mode) == 0o700


def test_a_key_is_not_shown_by_chance(senders: Senders) -> None:
    """What is printed of a credential, as in a traceback, leaves the key out."""
    issued(senders)
    assert "PRIVATE KEY" not in repr(read_credential(senders.own / "lungs-1.json"))


def test_a_file_that_fits_is_kept(senders: Senders) -> None:
    """The same certificate at every start, so that a study that runs is not cut off."""
    assert issued(senders) == issued(senders)


@pytest.mark.parametrize(
    "change",
    [
        lambda senders: senders.issue_own("lungs-1", "127.0.0.1:9000", HUB_CA),
        lambda senders: senders.issue_own("lungs-1", "127.0.0.1:8444", make_authority("lungs", NOW).certificate_pem()),
        lambda senders: senders.issue_own("lungs-1", "127.0.0.1:8444", HUB_CA, now=NOW + timedelta(days=380)),
        lambda senders: senders.remove("lungs-1"),
        lambda senders: (senders.own / "lungs-1.json").write_text("{"),
    ],
    ids=["address", "hub's CA", "end is near", "removed", "damaged"],
)  # fmt: skip
def test_a_file_that_no_longer_fits_is_made_anew(senders: Senders, change: object) -> None:
    """Then the certificate before it is no longer good."""
    before = issued(senders)
    change(senders)  # type: ignore[operator]
    after = issued(senders)
    assert after != before
    assert senders.run_of(before) is None
    assert senders.run_of(after) == "lungs-1"


def test_the_list_says_until_when(senders: Senders) -> None:
    """Runs by name; the CA is never outlived."""
    issued(senders, "a-1")
    issued(senders, "b-1", now=NOW + timedelta(days=CA_DAYS - 10))
    listed = senders.listed()
    assert list(listed) == ["a-1", "b-1"]
    ca = x509.load_pem_x509_certificate(senders.ca_file.read_bytes())
    assert listed["b-1"] <= ca.not_valid_after_utc


@pytest.mark.parametrize("run", ["", "../x", "a/b", ".hidden", "a" * 101, "a b"])
def test_a_name_that_is_no_folder_is_refused(senders: Senders, run: str) -> None:
    """No path is made of it."""
    for act in (lambda: senders.issue(run, "127.0.0.1:1", HUB_CA), lambda: senders.remove(run)):
        with pytest.raises(ConfigError, match="give the name of the run's folder"):
            act()


def test_a_name_in_a_certificate_is_no_path(senders: Senders) -> None:
    """Even one that our own CA signed."""
    ca = read_pair(senders.ca_key.read_bytes(), senders.ca_file.read_bytes(), "feed")
    assert senders.run_of(make_sender_certificate(ca, "../senders/lungs-1", NOW).certificate_pem()) is None


def test_who_is_not_listed_cannot_be_removed(senders: Senders) -> None:
    """A misspelt name is told."""
    with pytest.raises(ConfigError, match="no certificate is good for it"):
        senders.remove("lungs-2")


def test_the_ca_is_made_once(senders: Senders) -> None:
    """Preparing again keeps it, and everybody on the list."""
    before = senders.ca_file.read_bytes()
    senders.prepare("lungs")
    assert senders.ca_file.read_bytes() == before
