"""Who may send records: the feed's own CA, and a list of the one certificate that is good for each run.

In: names of runs, and certificates that senders show. Out: the files with which they send, and the source that a
certificate stands for. A certificate is good while the CA signed it, it has not ended, AND it is the one on the list: a
stolen key ends with `remove`, and a stolen CA key alone lets nobody in.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from server.feed.credential import RUN_NAME, Credential, read_credential
from server.hub.certificates import (
    SENDER_DAYS,
    Pair,
    make_authority,
    make_sender_certificate,
    read_pair,
    sender_of,
)
from server.hub.hub_folder import HubFolder
from shared.errors import ConfigError, RoundsError
from shared.trust.private_files import private_folder, write_file
from shared.whole_file import PUBLIC

_RENEW_BEFORE = timedelta(days=30)


@dataclass(frozen=True)
class Senders:
    """The hub's folder `feed`: `ca.key`, `ca.crt`, `senders/RUN.crt` (the list), `own/RUN.json` (the hub's own)."""

    folder: Path

    @property
    def ca_file(self) -> Path:
        """Certificate of the feed's CA: by it alone senders are known."""
        return self.folder / "ca.crt"

    @property
    def ca_key(self) -> Path:
        """Its private key."""
        return self.folder / "ca.key"

    @property
    def own(self) -> Path:
        """The files of runs that are at work on the hub's own machine."""
        return self.folder / "own"

    def prepare(self, federation: str, now: datetime | None = None) -> None:
        """Make the CA and the folders where there are none yet."""
        for folder in (self.folder, self.folder / "senders", self.own):
            private_folder(folder)
        if not self.ca_file.is_file():
            authority = make_authority(federation, now or datetime.now(UTC), what="feed")
            write_file(self.ca_key, authority.key_pem(), replace=True)
            write_file(self.ca_file, authority.certificate_pem(), mode=PUBLIC)

    def issue(
        self,
        run: str,
        address: str,
        hub_ca: bytes,
        *,
        days: int = SENDER_DAYS,
        now: datetime | None = None,
    ) -> Credential:
        """Make a certificate for a run's records, in place of the one that was good for it."""
        _check_run(run)
        made = make_sender_certificate(self._authority(), run, now or datetime.now(UTC), days)
        write_file(self._listed(run), made.certificate_pem(), mode=PUBLIC, replace=True)
        return Credential(
            run=run,
            address=address,
            hub_ca=hub_ca.decode(),
            certificate=made.certificate_pem().decode(),
            key=made.key_pem().decode(),
        )

    def issue_own(self, run: str, address: str, hub_ca: bytes, now: datetime | None = None) -> Path:
        """Return the file of a run on this machine, made anew where address, CA, list or date no longer fit."""
        path = self.own / f"{run}.json"
        if not self._fits(path, address, hub_ca, now or datetime.now(UTC)):
            self.issue(run, address, hub_ca, now=now).write(path)
        return path

    def unlisted(self, name: str, now: datetime, days: int) -> Pair:
        """Make a certificate that passes TLS and is on no list: with it nobody sends, but sees the feed's health."""
        return make_sender_certificate(self._authority(), name, now, days)

    def remove(self, run: str) -> None:
        """Let nobody send this run's records any more; `ConfigError` where nobody could."""
        _check_run(run)
        if not self._listed(run).is_file():
            raise ConfigError(
                f"RUN is {run!r}: no certificate is good for it; `rounds-hub feed senders` lists them"
            )
        self._listed(run).unlink()
        (self.own / f"{run}.json").unlink(missing_ok=True)

    def listed(self) -> dict[str, datetime]:
        """Return the runs whose records somebody may send, and until when."""
        files = sorted((self.folder / "senders").glob("*.crt"))
        return {
            file.stem: x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc for file in files
        }

    def kept(self) -> list[Path]:
        """Return the files of a backup: CA and list. The hub's own files are made anew."""
        return [self.ca_key, self.ca_file, *sorted((self.folder / "senders").glob("*.crt"))]

    def run_of(self, certificate_pem: bytes) -> str | None:
        """Return the run whose records the owner of a certificate may send; None where there is none.

        TLS has checked signature, dates and the use for clients before.
        """
        shown = x509.load_pem_x509_certificate(certificate_pem)
        run = sender_of(shown)
        if run is None or not re.fullmatch(RUN_NAME, run):
            return None
        try:
            listed = x509.load_pem_x509_certificate(self._listed(run).read_bytes())
        except (OSError, ValueError):
            return None
        return run if listed == shown else None

    def _fits(self, path: Path, address: str, hub_ca: bytes, now: datetime) -> bool:
        try:
            held = read_credential(path)
            good = x509.load_pem_x509_certificate(held.certificate.encode())
        except (RoundsError, ValueError):
            return False
        return (
            (held.address, held.hub_ca) == (address, hub_ca.decode())
            and self.run_of(held.certificate.encode()) == held.run
            and good.not_valid_after_utc - now > _RENEW_BEFORE
        )

    def _listed(self, run: str) -> Path:
        return self.folder / "senders" / f"{run}.crt"

    def _authority(self) -> Pair:
        try:
            return read_pair(self.ca_key.read_bytes(), self.ca_file.read_bytes(), "feed")
        except OSError as error:
            raise ConfigError(
                f"{error.filename}: cannot be read ({error.strerror}); put it back from the backup"
            ) from error


def hub_senders(hub: HubFolder) -> Senders:
    """Return a hub's senders; their CA is made where there is none yet."""
    made = Senders(hub.feed)
    made.prepare(hub.invitation().federation)
    return made


def _check_run(run: str) -> None:
    if not re.fullmatch(RUN_NAME, run):
        raise ConfigError(
            f"RUN is {run!r}, allowed are up to 100 letters, digits and . _ -, not beginning with a dot; give the "
            "name of the run's folder"
        )
