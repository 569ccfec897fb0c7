"""The site's cache of teacher targets: one encrypted row a patient, under a key that never leaves.

In come a patient's views; out come the teacher's targets, and what a readout is given, computed once and replayed.
Rows are AES-256-GCM under the site key, named by an HMAC of what they depend on (teacher or initial weights, study's
views, the pixels themselves), so a changed image or teacher is a miss and no identifier is stored. A row lives as long
as a study that uses it. Nothing of it may leave the hospital.
"""

import hashlib
import hmac
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from safetensors.torch import load, save
from torch import Tensor

from client.site.target_table import open_table
from client.site.withdrawn_patients import forgotten_name
from shared.config.study import StudyConfig
from shared.distillation.objective import Targets
from shared.distillation.targets import (
    PatientViews,
    ReadoutInputs,
    compute_readout_inputs,
    compute_targets,
    needs_features,
)
from shared.models.compact import CompactModel
from shared.models.teacher import Teacher

_NONCE_BYTES = 12


class TargetCache:
    """Targets of patients by their views; the teacher is loaded when one is missing, or on request."""

    def __init__(
        self, path: Path, site_key: bytes, study: StudyConfig, teacher: Callable[[], Teacher]
    ) -> None:
        self._database = open_table(path)
        self._seal = AESGCM(hashlib.sha256(b"targets|" + site_key).digest())
        self._site_key = site_key
        self._study = study
        self._build_teacher = teacher
        self._teacher: Teacher | None = None
        self._features = needs_features(study)
        self._digest = study.digest()
        found = self._database.execute("SELECT name FROM uses WHERE study = ?", (self._digest,))
        self._used = {name for (name,) in found}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.commit()
        self._database.close()

    def targets(self, patient_id: str, views: PatientViews) -> Targets:
        """Replay the patient's targets, or compute, keep and return them; equal either way, bit for bit."""

        def computed() -> dict[str, Tensor]:
            fresh = compute_targets(self.load_teacher(), views, self._study)
            return {"logits": fresh.logits} | {f"feature{i}": one for i, one in enumerate(fresh.features)}

        parts = (str(self._study.models.teacher.sha256), f"features={self._features}")
        tensors = self._kept(patient_id, views, parts, computed)
        return Targets(tensors["logits"], tuple(tensors[f"feature{i}"] for i in range(len(tensors) - 1)))

    def readout_inputs(self, patient_id: str, views: PatientViews, compact: CompactModel) -> ReadoutInputs:
        """Replay what a readout is given of the patient's views by the study's initial weights, or compute and keep it.

        The rest of the model is frozen while a readout learns, so a round costs what a linear layer costs.
        """

        def computed() -> dict[str, Tensor]:
            fresh = compute_readout_inputs(compact, views)
            return {"logits": fresh.logits, "pooled": fresh.pooled}

        parts = ("readout", str(self._study.models.initial_sha256))
        tensors = self._kept(patient_id, views, parts, computed)
        return ReadoutInputs(tensors["logits"], tensors["pooled"])

    def _kept(
        self,
        patient_id: str,
        views: PatientViews,
        parts: tuple[str, ...],
        compute: Callable[[], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """Return a row of tensors, named by the patient, the views' pixels and what else it depends on."""
        name = self._name(patient_id, views, parts)
        with closing(self._database.execute("SELECT sealed FROM targets WHERE name = ?", (name,))) as rows:
            found = rows.fetchone()
        if found is not None:
            self._use(name)
            return self._unsealed(name, found[0])
        fresh = compute()
        self._database.execute(
            "INSERT OR IGNORE INTO targets VALUES (?, ?, ?)",
            (name, forgotten_name(self._site_key, patient_id), self._sealed(name, fresh)),
        )
        self._use(name)
        return fresh

    def load_teacher(self) -> Teacher:
        """Load the teacher, once: enrolment does so first, so that its time does not tell whether anybody is new."""
        if self._teacher is None:
            self._teacher = self._build_teacher()
        return self._teacher

    def _use(self, name: str) -> None:
        """Write down that this study uses a row, so that the row ends with the last study that does."""
        if name not in self._used:
            use = (name, self._digest, self._study.expires.isoformat())
            self._database.execute("INSERT OR IGNORE INTO uses VALUES (?, ?, ?)", use)
            self._used.add(name)

    def _name(self, patient_id: str, views: PatientViews, parts: tuple[str, ...]) -> str:
        every = (patient_id, *parts, hashlib.sha256(views.pixels.tobytes()).hexdigest())
        return hmac.new(self._site_key, "|".join(every).encode(), hashlib.sha256).hexdigest()

    def _sealed(self, name: str, tensors: dict[str, Tensor]) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        whole = {part: tensor.contiguous() for part, tensor in tensors.items()}
        return nonce + self._seal.encrypt(nonce, save(whole), name.encode())

    def _unsealed(self, name: str, sealed: bytes) -> dict[str, Tensor]:
        return load(self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], name.encode()))
