"""After the rounds: measure, audit, judge and write down, in the hub's own process.

In comes a run folder with its checkpoint, and the workspace it started from; out come predictions.npz, audit.json,
the student's weights, summary.json, the report and the model card. Reads only public data and what sites released.
"""

import time
from pathlib import Path
from typing import Any

import numpy as np

from server.audit.drift import with_drift
from server.audit.gate import judge
from server.audit.map_recorder import Looks
from server.audit.round_maps import RoundMaps
from server.audit.run_audit import run_audit
from server.evaluation.report_journal import AuditJournal, record_summary
from server.evaluation.run_records import About, recorded_summary
from server.metrics.gate_result import GateResult
from server.metrics.measured import Calibrated, Metrics, ModelFacts
from server.metrics.membership_result import read_membership
from server.metrics.metrics import NOT_FINITE, Interval, evaluate, fit_temperature, tempered
from server.public_data.baselines import Predictions, Public, merged_student
from server.public_data.images import Progress, PublicImages, predict_logits, softmax
from server.public_data.preparation import calibration_part, load_teacher, public_sets
from server.report.html_report import write_report
from server.report.model_card import model_card, write_model_card
from server.report.stated_spend import sites
from server.runs.checkpoints import StudyState, load_state
from server.runs.run_folder import RunFolder
from server.runs.run_lines import read_events
from server.runs.summary import ByModel, Paired, Summary, auc_of, write_summary
from shared.config.files import read_study
from shared.config.study import StudyConfig
from shared.errors import RoundsError
from shared.models.compact import CompactModel
from shared.models.initial import unpack_initial
from shared.models.student import count_macs, count_parameters
from shared.models.weights import save_weights


def finish_run(folder: RunFolder, workspace: Path, about: About, progress: Progress) -> Summary:
    """Measure, audit, judge and report a run; a run that did not complete gets a report that says so.

    Where the audit fails with a `RoundsError` the report holds what was measured, no verdict, and the reason.
    """
    study = read_study(folder.study)
    state = load_state(folder.checkpoint, study.digest())
    completed = any(line.event == "study_completed" for line in read_events(folder))
    summary = recorded_summary(folder, study, state, about, completed=completed)
    if state is not None and completed:
        try:
            public = Public.load(workspace, study)
            student = merged_student(study, public.initial(), state)
            temperature = _temperature(student, public)
            summary = _measured(folder, public, student, study, summary, temperature)
            summary = _judged(folder, public, student, state, summary, temperature, progress)
        except RoundsError as error:
            summary = summary.model_copy(update={"reasons": (str(error),)})
    return written(folder, study, _timed(summary, about))


def _judged(
    folder: RunFolder,
    public: Public,
    student: CompactModel,
    state: StudyState,
    summary: Summary,
    temperature: float,
    progress: Progress,
) -> Summary:
    """Audit and judge the student, and store it under the name that its verdict allows."""
    study = public.study
    reference = public_sets(public.workspace, study)["reference"]
    looks = Looks.over(reference, study)
    audit = run_audit(
        student,
        load_teacher(public.workspace, study),
        reference,
        study,
        folder.path,
        progress=_audit_progress(progress),
        look=looks,
    )
    audit = with_drift(audit, looks, folder)
    AuditJournal(folder, state.study_uid).put(*looks.records())
    (folder.path / "audit.json").write_text(audit.model_dump_json(indent=1), encoding="utf-8")
    own = summary.main
    auc = Interval(value=None, reason=NOT_FINITE) if own is None else own.auc
    stated = {site: summary.statements.get(site) for site in sites(summary)}
    gate = judge(audit, auc, study, stated, finite_metrics=own is not None)
    digest = _store_student(folder, student, study, temperature, gate)
    rounds = RoundMaps(folder, study, public.workspace, unpack_initial(study, public.initial())[0])
    rounds.finish(state.study_uid, looks, progress)
    return summary.model_copy(
        update={
            "verdict": gate.verdict,
            "reasons": tuple(check.name for check in gate.checks if check.passed is False),
            "temperature": temperature,
            "audit": audit,
            "gate": gate,
            "model": _model_facts(student, study, state, folder.path / _weights_name(gate)),
            "digests": summary.digests | {"student": digest},
        }
    )


def _timed(summary: Summary, about: About) -> Summary:
    """Add the seconds since the begin of everything, where that is known."""
    if about.started is None:
        return summary
    total = {"total": round(time.monotonic() - about.started, 1)}
    return summary.model_copy(update={"seconds": summary.seconds | total})


def written(folder: RunFolder, study: StudyConfig, summary: Summary) -> Summary:
    """Write summary, report, model card and the records of all that; returns the summary.

    What a released student told of its patients comes from its own file, measured before or never.
    """
    told = read_membership(folder.path, summary.digests.get("student"))
    summary = summary.model_copy(update={"membership": told})
    write_summary(folder.path, summary)
    write_report(folder.path, summary)
    write_model_card(folder.path, summary, study)
    record_summary(folder, summary, model_card(summary, study))
    return summary


def _measured(
    folder: RunFolder,
    public: Public,
    student: CompactModel,
    study: StudyConfig,
    summary: Summary,
    temperature: float,
) -> Summary:
    """Add the figures of student and baselines; a student whose logits are not all finite has none."""
    own = "federated_private" if study.privacy.enabled else "federated"
    probabilities = public.baselines(study=study)
    logits = predict_logits(student, public.test)
    finite = bool(np.isfinite(logits).all())
    if finite:
        probabilities[own] = softmax(logits)
    arrays: dict[str, Any] = {name: value.astype(np.float32) for name, value in probabilities.items()}
    arrays |= {"labels": public.test.labels, "patients": public.test.patients}
    np.savez_compressed(folder.path / "predictions.npz", **arrays)
    metrics = ByModel[Metrics].model_validate(
        {name: public.metrics(value) for name, value in probabilities.items()}
    )
    auc = auc_of(metrics)
    measured: dict[str, Any] = {
        "metrics": metrics,
        "test_auc": auc,
        "trivial_by_site_of_origin": {
            site: one.auc for site, one in _by_site(public.test, probabilities["trivial"], study).items()
        },
    }
    if not finite:
        unknown = Interval(value=None, reason=NOT_FINITE)
        return summary.model_copy(update=measured | {"test_auc": auc.model_copy(update={own: unknown})})
    paired = tuple(
        Paired(a=own, b=other, difference=public.difference(probabilities[own], probabilities[other]))
        for other in ("warm_start", "teacher", "trivial")
    )
    by_site = _by_site(public.test, probabilities[own], study)
    after = public.metrics(tempered(probabilities[own], temperature))
    measured |= {"calibrated": Calibrated(ece=after.ece, brier=after.brier)}
    return summary.model_copy(update=measured | {"paired": paired, "by_site_of_origin": by_site})


def _by_site(test: PublicImages, probabilities: Predictions, study: StudyConfig) -> dict[str, Metrics]:
    result = {}
    for site in sorted(set(test.sites)):
        rows = np.flatnonzero(np.array(test.sites) == site)
        one = test.only(rows)
        result[site] = evaluate(
            probabilities[rows], one.labels, one.patients, study.task.classes, study.task.positive
        )
    return result


def _temperature(student: CompactModel, public: Public) -> float:
    """Fit the temperature on cohort patients that no weight was trained on; 1 where it cannot be fitted."""
    held_out = calibration_part(public.cohort)
    if not len(held_out):
        return 1.0
    logits = predict_logits(student, held_out)
    return fit_temperature(logits, held_out.labels) if np.isfinite(logits).all() else 1.0


def _weights_name(gate: GateResult) -> str:
    return "student.safetensors" if gate.verdict == "accepted" else "candidate.safetensors"


def _store_student(
    folder: RunFolder, student: CompactModel, study: StudyConfig, temperature: float, gate: GateResult
) -> str:
    """Write the compact model with all that `rounds-hub predict` needs to know."""
    metadata = {
        "study": study.canonical_json(),
        "temperature": repr(temperature),
        "verdict": gate.verdict,
        "gate": gate.sentence,
    }
    return save_weights(student.state_dict(), folder.path / _weights_name(gate), metadata)


def _model_facts(student: CompactModel, study: StudyConfig, state: StudyState, weights: Path) -> ModelFacts:
    models = study.models
    architecture = models.student.architecture
    return ModelFacts(
        teacher=models.teacher.name,
        student="OFA-595" if architecture == "ofa595" else "sub-network of the w1.2 OFA supernet",
        explainer=None if student.explainer is None else "U-Net on a coarse grid",
        fill=study.distillation.fill,
        normalisation=models.student.normalisation,
        trainable_set=study.privacy.trainable,
        num_parameters=count_parameters(student),
        num_trainable=sum(array.size for array in state.weights.values()),
        num_macs=count_macs(student, study.task.image_size),
        num_bytes=weights.stat().st_size,
    )


def _audit_progress(progress: Progress) -> Any:
    def report(done: int, total: int) -> None:
        progress("audit", done, total)

    return report
