"""The hub's folder: its CA, its certificate, its secrets, its list of sites, and what it tells them.

In: what a coordinator typed. Out: files. `ca/`, `tls/` and `secrets/` are for the hub's own account only;
FEDERATION.json is the one file that is sent out.
"""

import os
import re
import secrets
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from server.hub.admitted_sites import SiteList
from server.hub.certificates import (
    CA_DAYS,
    HUB_DAYS,
    Names,
    Pair,
    make_authority,
    make_hub_certificate,
    names_of,
    read_pair,
    verify_hub_certificate,
)
from shared.errors import ConfigError, TrustError
from shared.trust.hub_certificate import host_of
from shared.trust.hub_invitation import FEDERATION_NAME, Invitation, parse_invitation, read_invitation
from shared.trust.private_files import private_folder, write_file
from shared.whole_file import PUBLIC

STORE_VARIABLE = (
    "ROUNDS_STORE"  # an environment variable: the URL may hold a password, which a command line shows
)


@dataclass(frozen=True)
class HubFolder:
    """Where everything of the hub is; made by `make_hub`."""

    path: Path

    @property
    def invitation_file(self) -> Path:
        """FEDERATION.json, as sites get it."""
        return self.path / "FEDERATION.json"

    @property
    def ca_key(self) -> Path:
        """Private key of the CA: needed for renewal only."""
        return self.path / "ca" / "ca.key"

    @property
    def ca_file(self) -> Path:
        """Certificate of the CA."""
        return self.path / "ca" / "ca.crt"

    @property
    def key_file(self) -> Path:
        """Private key of the hub, for the SuperLink."""
        return self.path / "tls" / "hub.key"

    @property
    def certificate_file(self) -> Path:
        """Certificate of the hub, for the SuperLink."""
        return self.path / "tls" / "hub.crt"

    @property
    def superexec_secret(self) -> Path:
        """Secret that Flower's SuperLink and SuperExec share, for process isolation."""
        return self.path / "secrets" / "superexec.secret"

    @property
    def feed(self) -> Path:
        """The feed's CA and the list of who may send records."""
        return self.path / "feed"

    @property
    def registry(self) -> Path:
        """App bundles and the hospitals' signatures."""
        return self.path / "registry"

    @property
    def studies(self) -> Path:
        """One folder a submitted study."""
        return self.path / "studies"

    @property
    def status(self) -> Path:
        """What the supervisor of the hub's services writes."""
        return self.path / "services.json"

    @property
    def sites_file(self) -> Path:
        """The list of sites."""
        return self.path / "sites.sqlite"

    @property
    def own_store(self) -> Path:
        """The audit store, where no other database is named."""
        return self.path / "audit" / "store.sqlite"

    def store(self) -> str:
        """Return the audit store that `$ROUNDS_STORE` names, else the hub's own file; its folder is made."""
        named = os.environ.get(STORE_VARIABLE)
        if not named:
            private_folder(self.own_store.parent)
        return named or str(self.own_store.resolve())

    def sites(self) -> SiteList:
        """Open the list of admitted sites."""
        return SiteList(self.sites_file)

    def invitation(self) -> Invitation:
        """Read what the hub tells its sites."""
        return read_invitation(self.invitation_file)

    def certificate(self) -> x509.Certificate:
        """Read the hub's certificate."""
        return _certificate(self.certificate_file)

    def names(self) -> tuple[str, ...]:
        """Return the host names and addresses that the hub's certificate is for, this machine's own among them."""
        found = names_of(self.certificate())
        return (*found.dns, *map(str, found.ips), "localhost", "127.0.0.1")

    def ca(self) -> x509.Certificate:
        """Read the CA's certificate."""
        return _certificate(self.ca_file)


def open_hub(path: Path) -> HubFolder:
    """Open a hub's folder; `ConfigError` where there is none."""
    hub = HubFolder(path)
    if not hub.invitation_file.is_file():
        raise ConfigError(
            f"HUB is {str(path)!r}: no hub was made there; run `rounds-hub init` or give another folder"
        )
    return hub


def make_hub(
    path: Path,
    federation: str,
    address: str,
    names: Names,
    *,
    ca_days: int = CA_DAYS,
    days: int = HUB_DAYS,
    now: datetime | None = None,
) -> HubFolder:
    """Make a CA, the hub's certificate and the secrets in a new folder; nothing that is there is overwritten."""
    hub, now = HubFolder(path), now or datetime.now(UTC)
    if path.exists() and any(path.iterdir()):
        raise ConfigError(
            f"FOLDER is {str(path)!r}: holds files already; give a new folder, or use `rounds-hub renew`"
        )
    _check_name(federation)
    _check_address(address, names)
    authority = make_authority(federation, now, ca_days)
    invitation = Invitation.of(federation, address, authority.certificate_pem())
    for folder in (path, path / "ca", path / "tls", path / "secrets"):
        private_folder(folder)
    _write_authority(hub, authority)
    _write_certificate(hub, make_hub_certificate(authority, federation, names, now, days))
    _write_secret(hub)
    with hub.sites():
        pass
    write_file(hub.invitation_file, invitation.to_json(), mode=PUBLIC)  # last: with it the hub counts as made
    return hub


def renew(
    hub: HubFolder,
    *,
    names: Names | None = None,
    address: str | None = None,
    days: int = HUB_DAYS,
    now: datetime | None = None,
) -> None:
    """Give the hub a new key and certificate under the same CA; sites notice nothing."""
    old = hub.invitation()
    names, address = names or names_of(hub.certificate()), address or old.address
    _check_address(address, names)
    authority = read_pair(_read(hub.ca_key), _read(hub.ca_file), "ca")
    _write_certificate(
        hub, make_hub_certificate(authority, old.federation, names, now or datetime.now(UTC), days)
    )
    if address != old.address:
        changed = Invitation.of(old.federation, address, authority.certificate_pem())
        write_file(hub.invitation_file, changed.to_json(), mode=PUBLIC, replace=True)


def replace_authority(
    hub: HubFolder, *, ca_days: int = CA_DAYS, days: int = HUB_DAYS, now: datetime | None = None
) -> None:
    """Make a new CA, certificate and secret, for a hub or CA key that was lost or stolen; the list of sites stays.

    The old invitation must still be there; the old CA need not. Every site has to join again, and the feed begins with
    a new CA and an empty list: studies at the hub get new certificates by themselves, others by hand.
    """
    now = now or datetime.now(UTC)
    old = parse_invitation(hub.invitation_file)  # not verified: its CA may have ended
    names = names_of(hub.certificate())
    authority = make_authority(old.federation, now, ca_days)
    _write_authority(hub, authority)
    _write_certificate(hub, make_hub_certificate(authority, old.federation, names, now, days))
    _write_secret(hub)
    if hub.feed.exists():
        shutil.rmtree(hub.feed)
    invitation = Invitation.of(old.federation, old.address, authority.certificate_pem())
    write_file(hub.invitation_file, invitation.to_json(), mode=PUBLIC, replace=True)


def verify_hub(hub: HubFolder, at: datetime | None = None) -> None:
    """Raise `TrustError` unless a site would believe this hub under the address of its invitation."""
    at = at or datetime.now(UTC)
    invitation = read_invitation(hub.invitation_file, at)
    if invitation.ca.encode() != _read(hub.ca_file):
        raise TrustError("FEDERATION.json: names another CA than ca/ca.crt; put both back from one backup")
    read_pair(_read(hub.key_file), _read(hub.certificate_file), "tls")
    verify_hub_certificate(_read(hub.ca_file), _read(hub.certificate_file), host_of(invitation.address), at)


def _check_name(federation: str) -> None:
    if not re.fullmatch(FEDERATION_NAME, federation):
        raise ConfigError(
            f"--name is {federation!r}, allowed are up to 40 letters, digits, spaces and . _ -, beginning with a "
            "letter or digit; correct it"
        )


def _check_address(address: str, names: Names) -> None:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"--address is {address!r}, allowed is host:port such as hub.example.org:8000; correct it"
        )
    if not names.hold(host):
        raise ConfigError(
            f"--address is {address!r}: the certificate would not hold for {host}; name it with --dns or --ip too"
        )


def _write_authority(hub: HubFolder, authority: Pair) -> None:
    write_file(hub.ca_key, authority.key_pem(), replace=True)
    write_file(hub.ca_file, authority.certificate_pem(), mode=PUBLIC, replace=True)


def _write_secret(hub: HubFolder) -> None:
    write_file(hub.superexec_secret, secrets.token_hex(32).encode(), replace=True)


def _write_certificate(hub: HubFolder, pair: Pair) -> None:
    """Replace key and certificate; a crash between the two is told by `verify_hub`, and renewing again mends it."""
    write_file(hub.key_file, pair.key_pem(), replace=True)
    write_file(hub.certificate_file, pair.certificate_pem(), mode=PUBLIC, replace=True)


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise TrustError(f"{path.name}: is no certificate; put it back from the backup") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); put it back from the backup"
        ) from error
