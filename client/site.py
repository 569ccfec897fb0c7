"""One hospital: its configuration, its keys, its patients, its models. Opened for each request.

Everything is reached from `SiteConfig`; no module global holds site state, since one process may serve several
simulated sites. Nothing here leaves: answers are made in `client/round.py` and pass `client/door.py`.
"""

import logging
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from client.ledger import Ledger
from client.partition import Partition, assign_partitions
from client.target_cache import TargetCache
from shared.config import StudyConfig
from shared.data.images import check_images
from shared.data.records import Patient
from shared.data.source import read_source, source_problems
from shared.errors import ConfigError, DataError, ErrorCode, LedgerError, Refusal, RoundsError, WeightsError
from shared.models.adapters import Adapters
from shared.models.compact import CompactModel
from shared.models.initial import unpack_initial
from shared.models.teacher import Teacher, build_teacher
from shared.models.weights import find_weights, load_weights
from shared.site_config import SiteConfig, check_delta, check_sampling

log = logging.getLogger("rounds.site")


@dataclass(frozen=True)
class Site:
    """A hospital as its `site.yaml` describes it; `simulation` marks spend as that of one run alone."""

    config: SiteConfig
    simulation: bool

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

    def partitions(self, study: StudyConfig) -> dict[Partition, list[Patient]]:
        """Read the hospital's patients, sorted into their fixed partitions."""
        data = self.config.data
        patients = read_source(
            data.source, study.task, site=data.site, label_map=data.label_map, dicom=data.dicom
        )
        return assign_partitions(patients, self.config.state_dir / "partitions.sqlite", self.key())

    def compact(self, study: StudyConfig) -> tuple[CompactModel, Adapters]:
        """Build the compact model and its frozen adapters from the accepted initial weights."""
        digest = study.models.initial_sha256
        path = self._accepted(digest, "models.initial_sha256")
        return unpack_initial(study, load_weights(path, digest))

    def teacher(self, study: StudyConfig) -> Teacher:
        """Load the hospital's frozen copy of the teacher."""
        choice = study.models.teacher
        return build_teacher(
            choice.name,
            len(study.task.classes),
            study.task.image_size,
            weights=self._accepted(choice.sha256, "models.teacher.sha256"),
            sha256=choice.sha256,
        )

    def target_cache(self, study: StudyConfig) -> TargetCache:
        """Open the encrypted cache of teacher targets."""
        path = self.config.state_dir / "targets.sqlite"
        return TargetCache(path, self.key(), study, lambda: self.teacher(study))

    def check_study(self, study: StudyConfig) -> None:
        """Refuse a study that the hospital has not approved, that has expired or that asks too much."""
        approved = self.config.approved_studies
        if approved != "any-in-simulation" and study.digest() not in approved:
            raise Refusal(ErrorCode.STUDY_NOT_APPROVED, f"study {study.digest()[:12]} is not approved here")
        if study.expires < datetime.now(UTC).date():
            raise Refusal(ErrorCode.STUDY_EXPIRED, f"study {study.name} expired on {study.expires}")
        if not study.privacy.enabled and not self.config.allow_without_privacy:
            raise Refusal(
                ErrorCode.STUDY_NOT_APPROVED,
                "privacy.enabled is false; allowed only with allow_without_privacy: true in site.yaml",
            )
        for digest in (study.models.initial_sha256, study.models.teacher.sha256):
            self._accepted(digest, "models")
        if study.privacy.enabled:
            try:
                check_sampling(study, self.config.declared_patients)
                check_delta(study.privacy.delta, self.config.declared_patients, "privacy.delta")
            except (ConfigError, ValueError) as error:
                raise Refusal(ErrorCode.BAD_REQUEST, str(error)) from error

    def check_data(self, study: StudyConfig) -> int:
        """Read every image once; `DataError` says locally what is wrong. Returns the training patients."""
        parts = self.partitions(study)
        patients = [patient for part in parts.values() for patient in part]
        if not parts["train"]:
            raise DataError(f"{self.config.data.source}: no training patient; check data.site and the splits")
        data = self.config.data
        problems = check_images(patients, study.task).with_left_out(source_problems(data.source, data.dicom))
        share = problems.num_unreadable / max(1, problems.num_images)
        if share > self.config.data.max_unreadable:
            raise DataError(
                f"data.max_unreadable is {self.config.data.max_unreadable:g}: {problems.num_unreadable} of "
                f"{problems.num_images} images cannot be read; repair them or raise the limit"
            )
        if problems.num_unreadable:
            log.warning("%d of %d images cannot be read", problems.num_unreadable, problems.num_images)
        return len(parts["train"])

    def _accepted(self, digest: str | None, field: str) -> Path:
        if digest is None:
            raise Refusal(
                ErrorCode.BAD_REQUEST,
                f"{field}: the study names no weights file; ask the hub for the prepared study",
            )
        if digest not in self.config.accepted_digests and not self.config.allow_without_privacy:
            raise Refusal(
                ErrorCode.WEIGHTS_NOT_ACCEPTED,
                f"{field}: {digest[:12]} is not listed under accepted_digests in site.yaml",
            )
        try:
            return find_weights(self.config.weights_dir, digest)
        except WeightsError as error:
            raise Refusal(ErrorCode.WEIGHTS_NOT_ACCEPTED, str(error)) from error


def describe(error: BaseException) -> str:
    """Say a failure in the site's own log; only a domain error's own sentence, else the kind of error."""
    return str(error) if isinstance(error, RoundsError) else type(error).__name__
