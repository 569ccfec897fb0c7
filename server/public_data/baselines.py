"""Models on the public test set: their predictions, kept by the digest of their weights, and their figures."""

import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from server.metrics.measured import Metrics
from server.metrics.metrics import Interval, evaluate, paired_difference
from server.public_data.brightness_baseline import trivial_probabilities
from server.public_data.images import PublicImages, load_public, predict_logits, softmax
from server.public_data.preparation import load_teacher, public_sets, training_part
from server.runs.checkpoints import StudyState
from shared.config.study import StudyConfig
from shared.errors import ConfigError
from shared.models.compact import CompactModel
from shared.models.initial import unpack_initial
from shared.models.trainable import load_trainable
from shared.models.weights import find_weights, load_weights
from shared.trust.private_files import write_file
from shared.whole_file import PUBLIC

Predictions = NDArray[np.float64]


@dataclass(frozen=True)
class Public:
    """The public sets of a workspace in memory, with the test predictions that do not change between runs."""

    study: StudyConfig
    workspace: Path
    cohort: PublicImages
    test: PublicImages

    @classmethod
    def load(cls, workspace: Path, study: StudyConfig) -> "Public":
        """Read cohort and test images."""
        sets = public_sets(workspace, study)
        return cls(
            study, workspace, load_public(sets["cohort"], study.task), load_public(sets["test"], study.task)
        )

    def predictions(self, name: str, digest: str, model: nn.Module) -> Predictions:
        """Test probabilities of a model, computed once for each digest of its weights where a workspace can be written.

        The hub's container has its workspaces read-only: there they are computed each time.
        """
        path = self.workspace / "predictions" / f"{name}-{digest[:16]}.npy"
        if path.is_file():
            kept: Predictions = np.load(path)
            return kept
        made, raw = softmax(predict_logits(model, self.test)), io.BytesIO()
        np.save(raw, made)
        with suppress(OSError, ConfigError):
            path.parent.mkdir(exist_ok=True)
            write_file(path, raw.getvalue(), mode=PUBLIC, replace=True)
        return made

    def metrics(self, probabilities: Predictions) -> Metrics:
        """All figures of one model on the public test set."""
        task = self.study.task
        return evaluate(probabilities, self.test.labels, self.test.patients, task.classes, task.positive)

    def difference(self, a: Predictions, b: Predictions) -> Interval:
        """Paired difference of test AUC, a minus b."""
        task = self.study.task
        return paired_difference(
            a, b, self.test.labels, self.test.patients, task.classes, positive=task.positive
        )

    def baselines(self, *, study: StudyConfig) -> dict[str, Predictions]:
        """Teacher, warm start and the trivial model."""
        compact, _ = unpack_initial(study, self.initial())
        models = study.models
        return {
            "teacher": self.predictions(
                "teacher", str(models.teacher.sha256), load_teacher(self.workspace, study)
            ),
            "warm_start": self.predictions("warm", str(models.initial_sha256), compact),
            "trivial": trivial_probabilities(
                training_part(self.cohort).pixels,
                training_part(self.cohort).labels,
                self.test.pixels,
                len(study.task.classes),
            ),
        }

    def initial(self) -> dict[str, Any]:
        """Load the tensors that round 0 started from."""
        digest = str(self.study.models.initial_sha256)
        return dict(load_weights(find_weights(self.workspace / "weights", digest), digest))


def merged_student(study: StudyConfig, initial: Mapping[str, Any], state: StudyState) -> CompactModel:
    """Return the compact model with the merged weights of the last closed round."""
    compact, _ = unpack_initial(study, initial)
    load_trainable(compact, state.weights)
    return compact
