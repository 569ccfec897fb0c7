"""One hospital: its configuration, its keys, its patients, its models. Opened for each request.

Everything is reached from `SiteConfig`; no module global holds site state, since one process may serve several
simulated sites. Nothing here leaves: answers are made in `client/round.py` and pass `client/door.py`.
"""

import logging
import os
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from client.approvals import Approvals
from client.device import CPU
from client.forgotten import left_in
from client.ledger import Ledger
from client.partition import Partition, assign_partitions
from client.target_cache import TargetCache, purge_targets
from shared.code import code_digest
from shared.config import StudyConfig
from shared.data.hospital import HospitalPatients, read_hospital
from shared.data.images import check_images
from shared.data.records import Patient
from shared.errors import ConfigError, DataError, ErrorCode, LedgerError, Refusal, RoundsError, WeightsError
from shared.models.adapters import Adapters
from shared.models.compact import CompactModel
from shared.models.initial import unpack_initial
from shared.models.teacher import Teacher, build_teacher
from shared.models.weights import find_weights, load_weights
from shared.privacy.mechanisms import Declared, Unprotected
from shared.release_kinds import Span
from shared.site_config import SiteConfig, check_delta, check_sampling

log = logging.getLogger("rounds.site")


@dataclass(frozen=True)
class Site:
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

    def records(self, study: StudyConfig) -> HospitalPatients:
        """Read the hospital's patients, less those that it was told to forget, and what is wrong with other records.

        `DataError` for a source that cannot be read as a whole, or that a hospital cannot have: one in which patients
        depend on each other. One record never raises.
        """
        found = read_hospital(self.config.data, study.task)
        return replace(found, patients=self.not_forgotten(found.patients))

    def patients(self, study: StudyConfig) -> list[Patient]:
        """Return the patients of `records`: those whose every record can be used."""
        return self.records(study).patients

    def not_forgotten(self, patients: list[Patient]) -> list[Patient]:
        """Return the patients less those that the hospital was told to forget."""
        forgotten = self.approvals().forgotten()
        return left_in(patients, forgotten, self.key()) if forgotten else patients

    def partitions(self, study: StudyConfig) -> dict[Partition, list[Patient]]:
        """Return the hospital's patients, sorted into their fixed partitions."""
        return self.divided(self.patients(study))

    def divided(self, patients: list[Patient]) -> dict[Partition, list[Patient]]:
        """Sort patients into their fixed partitions."""
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

    def target_cache(self, study: StudyConfig, device: torch.device = CPU) -> TargetCache:
        """Open the encrypted cache of teacher targets; what it lacks the teacher computes on `device`."""
        path = self.config.state_dir / "targets.sqlite"
        return TargetCache(path, self.key(), study, lambda: self.teacher(study).to(device))

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

    def check_study(self, study: StudyConfig) -> None:
        """Refuse a study that the hospital has not approved, that has expired or that asks too much."""
        if not self.approves_study(study.digest()):
            raise Refusal(ErrorCode.STUDY_NOT_APPROVED, f"study {study.digest()} is not approved here")
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
        found = self.records(study)
        parts = self.divided(found.patients)
        if not parts["train"]:
            left = ", ".join(f"{kind} {count}" for kind, count in found.problems.items()) or "nothing"
            raise DataError(
                f"{self.config.data.source}: no training patient; check data.site and the splits (left out: {left})"
            )
        problems = check_images(found.patients, study.task).with_left_out(found.problems)
        share = problems.num_unreadable / max(1, problems.num_images)
        if share > self.config.data.max_unreadable:
            raise DataError(
                f"data.max_unreadable is {self.config.data.max_unreadable:g}: {problems.num_unreadable} of "
                f"{problems.num_images} images cannot be used; repair them or raise the limit"
            )
        if problems.num_unreadable:
            log.warning("%d of %d images cannot be used", problems.num_unreadable, problems.num_images)
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
                f"{field}: accepted_digests in site.yaml does not list {digest}; add `{digest}: public` if these "
                "weights never saw this hospital's patients",
            )
        try:
            return find_weights(self.config.weights_dir, digest)
        except WeightsError as error:
            raise Refusal(ErrorCode.WEIGHTS_NOT_ACCEPTED, str(error)) from error


def describe(error: BaseException) -> str:
    """Say a failure in the site's own log; only a domain error's own sentence, else the kind of error."""
    return str(error) if isinstance(error, RoundsError) else type(error).__name__
