"""How far is this student's look from that of the last one that was accepted? Paired, on the same reference images.

In: an audit, and the folder of an earlier run with an accepted student. Out: figures with intervals of their own. The
earlier student is not run again: its audit and its maps stand in its run's folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from server.audit.map_recorder import Looks, Seen
from server.audit.mean_map_records import COARSE
from server.audit.results import NUM_RESAMPLES
from server.metrics.audit_result import AuditResult, Drift, DriftFigure, ImageAudit
from server.metrics.intervals import (
    FEWEST_PATIENTS,
    TOO_FEW,
    Interval,
    patient_resamples,
    percentile_interval,
)
from server.runs.run_folder import RunFolder
from server.runs.run_lines import read_events
from server.runs.summary import read_summary
from server.store.intake.outbox import FILE, Outbox
from server.store.record_kinds import EVERY, ImageBody
from shared.config.files import read_study
from shared.config.study import StudyConfig
from shared.errors import RoundsError
from shared.explain.frames import Frame, lifts

Floats = npt.NDArray[np.float64]
_SAME: Final = ("method", "student_layer")  # of both audits, else their figures cannot be compared


@dataclass(frozen=True)
class Accepted:
    """An accepted student's audit, and its maps of single images by key where its run recorded them."""

    sha256: str
    study_uid: str
    audit: AuditResult
    maps: Mapping[str, Floats]


def with_drift(audit: AuditResult, looks: Looks, folder: RunFolder) -> AuditResult:
    """Return the audit with what changed since the last accepted student, where there is one to compare with."""
    before = last_accepted(folder, looks.study)
    found = None if before is None else drift_since(before, audit, looks)
    return audit if found is None else audit.model_copy(update={"drift": found})


def last_accepted(folder: RunFolder, study: StudyConfig) -> Accepted | None:
    """Return the newest accepted student of a study of this name, among the runs beside this one that began before it.

    Its reference images must be those of this study, by their digest. What people decided later is in the audit store
    alone, and does not count here.
    """
    own = _began(folder)
    earlier = [
        (began, RunFolder(path.parent))
        for path in folder.path.parent.glob("*/student.safetensors")
        if path.parent.resolve() != folder.path.resolve()
        and not path.parent.is_symlink()
        and "" < (began := _began(RunFolder(path.parent))) < own
    ]
    for _, run in sorted(earlier, key=lambda pair: pair[0], reverse=True):
        if _same_reference(run, study) and (found := _accepted(run)) is not None:
            return found
    return None


def drift_since(before: Accepted, audit: AuditResult, looks: Looks) -> Drift | None:
    """Compare an audit with an earlier one; None where they were made in different ways or share no image."""
    if any(getattr(audit, name) != getattr(before.audit, name) for name in _SAME):
        return None
    then = {image.key: image for image in before.audit.images}
    both = [(one, then[one.image.key]) for one in looks.seen if one.image.key in then]
    if not both:
        return None
    figures = []
    for label in (EVERY, *looks.study.task.classes):
        some = [pair for pair in both if label in {EVERY, pair[0].image.true_class}]
        lift = _lift_difference(some)
        likeness = _likeness([one for one, _ in some], before.maps, looks.frame)
        figures += [
            DriftFigure(name="difference_of_lift", label=label, interval=lift),
            DriftFigure(name="rank_correlation_of_mean_maps", label=label, interval=likeness),
        ]
    return Drift(
        baseline=before.sha256, baseline_uid=before.study_uid, num_images=len(both), figures=tuple(figures)
    )


def _lift_difference(pairs: Sequence[tuple[Seen, ImageAudit]]) -> Interval:
    """Mean difference of the student's lift, now less then, over the images on which both have one."""
    found = [
        (one.image.patient, now - old)
        for one, then in pairs
        if (now := one.image.figures["lift_student"]) is not None
        and (old := then.figures["lift_student"]) is not None
    ]
    if not found:
        return Interval(value=None, reason="no image has a region on which both students show evidence")
    values = np.array([value for _, value in found])
    weights = _weights([patient for patient, _ in found])
    return _interval(float(values.mean()), weights @ values / weights.sum(1), len(values), weights)


def _likeness(some: Sequence[Seen], then: Mapping[str, Floats], frame: Frame) -> Interval:
    """Spearman's correlation, over cells, of both students' mean maps in the frame."""
    rows = [
        (one.image.patient, now, old)
        for one in some
        if (now := _in_frame(one, _values(one), frame)) is not None
        and (old := _in_frame(one, then.get(one.image.key), frame)) is not None
    ]
    if not rows:
        return Interval(value=None, reason="the earlier run recorded no maps of these images")
    now, old = (np.array([row[index] for row in rows]) for index in (1, 2))
    weights = _weights([row[0] for row in rows])
    value = _spearman(now.mean(0)[None], old.mean(0)[None])[0]
    if not np.isfinite(value):
        return Interval(value=None, n=len(rows), reason="a mean map is the same everywhere")
    return _interval(float(value), _spearman(weights @ now, weights @ old), len(rows), weights)


def _interval(value: float, draws: Floats, n: int, weights: Floats) -> Interval:
    if weights.shape[0] == 1:
        return Interval(value=value, n=n, reason=TOO_FEW)
    return percentile_interval(value, draws, n)


def _weights(patients: Sequence[int]) -> Floats:
    """How often each image was drawn in each resample of patients (R, N); one row where there are too few."""
    numbers = np.unique(patients, return_inverse=True)[1].reshape(-1).astype(np.int64)
    if numbers.max() + 1 < FEWEST_PATIENTS:
        return np.ones((1, len(numbers)))
    return np.concatenate(list(patient_resamples(numbers, NUM_RESAMPLES, seed=0)))


def _spearman(first: Floats, second: Floats) -> Floats:
    """Rank correlation of each row (R, cells) -> (R,); NaN where a row is flat."""
    ranks = [stats.rankdata(one, axis=1) for one in (first, second)]
    centred = [one - one.mean(1, keepdims=True) for one in ranks]
    above = (centred[0] * centred[1]).sum(1)
    below = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = above / below
    return result


def _values(one: Seen) -> Floats | None:
    grid = one.maps["student"]
    return None if grid is None else np.reshape(grid.values, (grid.rows, grid.columns))


def _in_frame(one: Seen, values: Floats | None, frame: Frame) -> Floats | None:
    """Bring a map of an image into the frame (cells,), both students' maps by the same region."""
    if values is None or one.box is None:
        return None
    placed = lifts(values, one.box, frame, COARSE)
    return None if placed is None else placed.ravel()


def _same_reference(run: RunFolder, study: StudyConfig) -> bool:
    try:
        other = read_study(run.study)
    except RoundsError:
        return False
    same = (other.name, other.task, other.public.reference_sha256)
    return same == (study.name, study.task, study.public.reference_sha256) and same[2] is not None


def _accepted(run: RunFolder) -> Accepted | None:
    try:
        summary = read_summary(run.path)
    except RoundsError:
        return None
    if summary.verdict != "accepted" or summary.audit is None or "student" not in summary.digests:
        return None
    uid = summary.study.uid
    return Accepted(summary.digests["student"], uid, summary.audit, _recorded_maps(run, uid))


def _recorded_maps(run: RunFolder, uid: str) -> dict[str, Floats]:
    if not (run.path / FILE).is_file():
        return {}
    bodies = [ImageBody.model_validate_json(body) for body in Outbox(run.path).bodies(uid, ["image"])]
    grids = {one.key: one.maps.get("student") for one in bodies}
    return {
        key: np.reshape(grid.values, (grid.rows, grid.columns))
        for key, grid in grids.items()
        if grid is not None
    }


def _began(run: RunFolder) -> str:
    """Return the time of a run's first event, empty where there is none."""
    return next((line.time for line in read_events(run)), "")
