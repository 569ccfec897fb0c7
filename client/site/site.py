"""One hospital whole: its rules, keys and decisions, and its patients and models. Opened for each request.

Answers are made in `client/rounds/answer.py` and pass `client/rounds/egress.py`; nothing here leaves.
"""

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from client.site.device import CPU
from client.site.patient_partitions import assign_partitions
from client.site.site_rules import SiteRules
from client.site.target_cache import TargetCache
from client.site.withdrawn_patients import left_in
from shared.config.kinds import Partition
from shared.config.site import check_delta, check_sampling
from shared.config.study import StudyConfig
from shared.data.hospital import HospitalPatients, read_hospital
from shared.data.images import check_images
from shared.data.patients import Patient
from shared.errors import ConfigError, DataError, ErrorCode, Refusal, WeightsError
from shared.models.adapters import Adapters
from shared.models.compact import CompactModel
from shared.models.initial import unpack_initial
from shared.models.teacher import Teacher, build_teacher
from shared.models.weights import find_weights, load_weights

log = logging.getLogger("rounds.site")


@dataclass(frozen=True)
class Site(SiteRules):
    """A hospital with its patients and models."""

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

    def target_cache(self, study: StudyConfig, device: torch.device = CPU) -> TargetCache:
        """Open the encrypted cache of teacher targets; what it lacks the teacher computes on `device`."""
        path = self.config.state_dir / "targets.sqlite"
        return TargetCache(path, self.key(), study, lambda: self.teacher(study).to(device))

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
