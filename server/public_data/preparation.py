"""Make a study ready: teacher, warm start, digests. In comes a study with its public sets, out a resolved one.

The workspace holds `public/{cohort,reference,test}.csv` beforehand, `weights/` and `study.yaml` afterwards. All of it
is public; a part of the cohort is held out for the calibration of probabilities.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from huggingface_hub import constants as hub
from numpy.typing import NDArray

from server.public_data.images import Progress, PublicImages, load_public
from server.public_data.training import fit_teacher, warm_start
from shared.config.files import write_yaml
from shared.config.study import StudyConfig
from shared.data.patients import Patient
from shared.data.sources import read_source
from shared.data.tables.manifest import manifest_digest
from shared.errors import ConfigError, DataError
from shared.models.teacher import Teacher, build_teacher
from shared.models.torch_random import torch_seeded
from shared.models.weights import file_sha256, find_weights, save_weights, store_file, store_weights

PUBLIC_SETS = ("cohort", "reference", "test")
_HELD_OUT = 0.15  # share of cohort patients kept for calibration


@dataclass(frozen=True)
class TeacherFit:
    """How a teacher is fitted to the cohort when no weights file is given."""

    epochs: int = 12
    learning_rate: float = 2e-3
    pretrained: bool = False


def public_sets(workspace: Path, study: StudyConfig) -> dict[str, list[Patient]]:
    """Read the three public sets; refuse one that changed since the study named it, and a patient in two of them."""
    sets = {name: read_source(workspace / "public" / f"{name}.csv", study.task) for name in PUBLIC_SETS}
    ids = [patient.patient_id for patients in sets.values() for patient in patients]
    overlap = len(ids) - len(set(ids))
    if overlap:
        raise DataError(
            f"public sets: {overlap} patients stand in more than one, allowed is none; divide again"
        )
    found = with_public_digests(study, workspace).public
    for name in PUBLIC_SETS:
        named = getattr(study.public, f"{name}_sha256")
        if named not in {None, getattr(found, f"{name}_sha256")}:
            raise DataError(
                f"public/{name}.csv: its images or labels are not those that the study names by digest; put them back "
                "or prepare a new study"
            )
    return sets


def training_part(cohort: PublicImages) -> PublicImages:
    """Return the cohort without the held-out patients."""
    return cohort.only(np.flatnonzero(~_held_out(cohort)))


def calibration_part(cohort: PublicImages) -> PublicImages:
    """Return the held-out patients of the cohort: no weight was trained on them; they choose a readout's ridge."""
    return cohort.only(np.flatnonzero(_held_out(cohort)))


def with_public_digests(study: StudyConfig, workspace: Path) -> StudyConfig:
    """Name the three public sets in the study by the digests of their images and labels."""
    digests = {
        f"{name}_sha256": manifest_digest(workspace / "public" / f"{name}.csv") for name in PUBLIC_SETS
    }
    return study.model_copy(update={"public": study.public.model_copy(update=digests)})


def with_teacher(
    study: StudyConfig,
    workspace: Path,
    fit: TeacherFit,
    *,
    seed: int,
    progress: Progress,
    teacher_file: Path | None = None,
    teachers: Path | None = None,
) -> StudyConfig:
    """Fit the teacher on the cohort, or load it, and name its weights in the study.

    `teachers` keeps fitted teachers by the digest of what they were fitted on, so that the next study with the
    same cohort and recipe does not fit again. `teacher_file` is a hospital's or publisher's own. A teacher that the
    study names by digest is never replaced by a fitted one.
    """
    choice = study.models.teacher
    build_teacher(
        choice.name, len(study.task.classes), study.task.image_size
    )  # refuses a bad name or size now
    weights = workspace / "weights"
    weights.mkdir(parents=True, exist_ok=True)
    file = given_teacher(study, teacher_file, teachers)
    kept = None if teachers is None else teachers / f"{_recipe(study, fit, seed)}.safetensors"
    if file is None and kept is not None and kept.is_file():
        file = kept
    if file is not None:
        digest = store_file(file, choice.sha256, weights)
    else:
        cohort = load_public(public_sets(workspace, study)["cohort"], study.task)
        state = _fitted(study, fit, training_part(cohort), seed, progress)
        digest = store_weights(state, weights)
        if kept is not None:
            save_weights(state, kept)
    update = {"teacher": choice.model_copy(update={"sha256": digest})}
    return study.model_copy(update={"models": study.models.model_copy(update=update)})


def given_teacher(study: StudyConfig, teacher_file: Path | None, teachers: Path | None) -> Path | None:
    """Return the file of the teacher that is given, or named by the study and kept; None: one is to be fitted.

    Raises ConfigError where the study names another teacher than the given one, or one that is not here.
    """
    named = study.models.teacher.sha256
    if teacher_file is not None:
        if named not in {None, file_sha256(teacher_file)}:
            raise ConfigError(
                f"models.teacher.sha256 is {named!r}, which {teacher_file.name} is not; give the file with that "
                "digest, or leave the field out to take this one"
            )
        return teacher_file
    if named is None:
        return None
    for path in sorted(teachers.glob("*.safetensors")) if teachers else ():
        if file_sha256(path) == named:
            return path
    raise ConfigError(
        f"models.teacher.sha256 is {named!r}, allowed is a teacher that is kept here, and none with that digest is; "
        "give its file with --teacher-file (TEACHER=file of make), or leave the field out to fit one"
    )


def check_student(study: StudyConfig, student_file: Path | None) -> None:
    """Refuse, with a ConfigError, a student's file that the study does not name, and a study whose file is missing."""
    named = study.models.student.weights_sha256
    if named != (None if student_file is None else file_sha256(student_file)):
        raise ConfigError(
            f"models.student.weights_sha256 is {named!r}, allowed is the digest of the file given with --student-file "
            f"(STUDENT=file of make), here {student_file and student_file.name}; give the file with that digest, or "
            "use normalisation: group without one"
        )


def with_warm_start(
    study: StudyConfig, workspace: Path, *, seed: int, progress: Progress, student_file: Path | None = None
) -> StudyConfig:
    """Warm-start the student on the cohort, name its weights in the study, and write study.yaml."""
    check_student(study, student_file)
    cohort = load_public(public_sets(workspace, study)["cohort"], study.task)
    started = warm_start(
        study,
        load_teacher(workspace, study),
        training_part(cohort),
        seed=seed,
        progress=progress,
        student_file=student_file,
        unseen=calibration_part(cohort),
    )
    digest = store_weights(started.state(), workspace / "weights")
    study = study.model_copy(update={"models": study.models.model_copy(update={"initial_sha256": digest})})
    write_yaml(workspace / "study.yaml", study)  # last: its presence says that all the rest is there
    return study


def load_teacher(workspace: Path, study: StudyConfig) -> Teacher:
    """Load the study's teacher from the workspace."""
    choice = study.models.teacher
    path = find_weights(workspace / "weights", str(choice.sha256))
    return build_teacher(
        choice.name, len(study.task.classes), study.task.image_size, weights=path, sha256=choice.sha256
    )


def _fitted(
    study: StudyConfig, fit: TeacherFit, cohort: PublicImages, seed: int, progress: Progress
) -> dict[str, torch.Tensor]:
    with _hub_online() if fit.pretrained else nullcontext():
        teacher = build_teacher(
            study.models.teacher.name,
            len(study.task.classes),
            study.task.image_size,
            pretrained=fit.pretrained,
            seed=seed,
        )
    network = teacher.network.requires_grad_(True)
    with torch_seeded(seed):
        fit_teacher(
            network,
            cohort,
            epochs=fit.epochs,
            learning_rate=fit.learning_rate,
            seed=seed,
            flip=not study.task.laterality_matters,
            progress=progress,
        )
    return dict(network.state_dict())


@contextmanager
def _hub_online() -> Iterator[None]:
    """Let the Hugging Face hub be asked, though HF_HUB_OFFLINE forbids it to everything else."""
    before, hub.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE, False
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = before


def _recipe(study: StudyConfig, fit: TeacherFit, seed: int) -> str:
    parts = (
        study.public.cohort_sha256,
        study.models.teacher.name,
        study.task.model_dump_json(),
        asdict(fit),
        seed,
        version("timm"),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _held_out(cohort: PublicImages) -> NDArray[np.bool_]:
    places = [
        hashlib.sha256(f"calibration|{patient}".encode()).digest()[0] / 256 for patient in cohort.patient_ids
    ]
    return np.array(places) < _HELD_OUT
