"""One hospital's rules, keys, decisions and ledger: all of it that is asked without looking at patients or models.

Everything is reached from `SiteConfig`; no module global holds site state, since one process may serve several
simulated sites. Nothing here leaves.
"""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from client.consent.approvals import Approvals
from client.ledger.ledger import Ledger
from client.site.target_table import purge_targets
from shared.code_digest import code_digest
from shared.config.site import SiteConfig
from shared.config.study import StudyConfig
from shared.errors import ErrorCode, LedgerError, Refusal, RoundsError
from shared.messages.release_kinds import Span
from shared.privacy.mechanisms import Declared, Unprotected


@dataclass(frozen=True)
class SiteRules:
    """A hospital as its `site.yaml` describes it; `span` says what its ledger adds up."""

    config: SiteConfig
    span: Span = "all runs"

    def ledger(self) -> Ledger:
        """Open the ledger; `LedgerError` when it is damaged, behind its head file, or without the site's key."""
        self.config.state_dir.mkdir(parents=True, exist_ok=True)
        self.config.head_file.parent.mkdir(parents=True, exist_ok=True)
        self.key()
        return Ledger.open(self.config.state_dir / "ledger.sqlite", self.config.head_file)

    def key(self) -> bytes:
        """Return the site's own secret, made on first use; it names and seals what is stored here.

        Made before the ledger begins and never after: under a new key patients would change their partitions, and
        spends that were counted apart would fall on the same patient. `LedgerError` where it was lost.
        """
        path = self.config.state_dir / "site.key"
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            if (path.parent / "ledger.sqlite").exists():
                raise LedgerError(
                    f"{path}: is missing beside a ledger; put it back from the backup, for under a new key patients "
                    "would change their partitions"
                )
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
                os.fsync(file.fileno())
        return path.read_bytes()

    @property
    def is_made(self) -> bool:
        """Whether this is a made site of a simulation, which approves whatever it is sent."""
        return self.config.approved_studies == "any-in-simulation"

    @property
    def keys_dir(self) -> Path:
        """Where the hospital's keys lie."""
        return self.config.keys_dir or self.config.state_dir.parent / "keys"

    def approvals(self) -> Approvals:
        """Open the hospital's decisions; `ApprovalsError` when they are altered or cut."""
        head_file = self.config.head_file.with_suffix(".approvals")
        return Approvals.open(self.config.state_dir, head_file, self.keys_dir)

    def weights_spends(self, study: StudyConfig) -> dict[str, Declared | Unprotected]:
        """Return by digest what a study's weights had spent on this hospital's patients when they came.

        Nothing where the hospital lists them as public; without any bound where it does not list them.
        """
        accepted, spent = self.config.accepted_digests, self.config.private_dp_spend
        spends: dict[str, Declared | Unprotected] = {}
        for digest in (study.models.initial_sha256, study.models.teacher.sha256):
            if digest is None or accepted.get(digest) == "public":
                continue
            if digest in accepted:
                epsilon, delta = spent[digest]
                spends[digest] = Declared(epsilon=epsilon, delta=delta)
            else:
                spends[digest] = Unprotected()
        return spends

    def approves_study(self, digest: str) -> bool:
        """Tell whether the hospital approves a study: in site.yaml or by command; what it withdrew it does not."""
        decided = self.approvals().is_approved("study", digest)
        listed = self.is_made or digest in self.config.approved_studies
        return listed if decided is None else decided

    def check_code(self, asked: str) -> None:
        """Refuse to answer by code, or to code, that is in no bundle which the hospital approves now.

        Flower has checked the bundle's signature; what was withdrawn since then stops here.
        """
        approvals = self.approvals()
        for digest in () if self.is_made else (code_digest(), asked):
            if not approvals.allows_code(digest):
                raise Refusal(
                    ErrorCode.CODE_NOT_APPROVED,
                    f"code {digest} is in no bundle that is approved here; look at the bundle with `rounds-site "
                    "code show`, then approve it",
                )

    def purge_targets(self) -> int:
        """Purge cached targets of studies that ended or are no longer approved, and of forgotten patients."""
        path = self.config.state_dir / "targets.sqlite"
        forgotten = [one.digest for one in self.approvals().forgotten()]
        return purge_targets(path, self.approves_study, forgotten) if path.is_file() else 0


def describe(error: BaseException) -> str:
    """Say a failure in the site's own log; only a domain error's own sentence, else the kind of error."""
    return str(error) if isinstance(error, RoundsError) else type(error).__name__
