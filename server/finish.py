"""After the rounds: measure, audit, judge and write down, in the hub's own process.

In comes a run folder with its checkpoint, and the workspace it started from; out come predictions.npz, audit.json,
the student's weights, summary.json, the report and the model card. Reads only public data and what sites released.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from server.audit import run_audit
from server.checkpoints import StudyState, load_state
from server.gate import GateResult, judge
from server.metrics import Interval, Metrics, evaluate, fit_temperature, paired_difference
from server.model_card import write_model_card
from server.prepare import calibration_part, load_teacher, public_sets, training_part
from server.public_data import Progress, PublicImages, load_public, predict_logits, softmax
from server.report import write_report
from server.results import (
    ByModel,
    Event,
    ModelFacts,
    Paired,
    Round,
    StudyFacts,
    Summary,
    auc_of,
    write_summary,
)
from server.run_folder import RunFolder, read_lines
from server.trivial import trivial_probabilities
from shared.code import code_digest
from shared.config import StudyConfig, parse_study, read_yaml
from shared.models.compact import CompactModel
from shared.models.initial import unpack_initial
from shared.models.student import count_macs, count_parameters
from shared.models.trainable import load_trainable
from shared.models.weights import find_weights, load_weights, save_weights

Predictions = NDArray[np.float64]
_TOLD = {"not_enrolled", "deadline", "study_failed"}


@dataclass(frozen=True)
class About:
    """What a report says of the data and the run that no file of the run holds."""

    data_kind: str  # "made" or "real"
    data_name: str
    notes: tuple[str, ...] = ()
    attribution: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    started: float | None = None  # time.monotonic() at the begin of everything


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
        """Test probabilities of a model, computed once for each digest of its weights."""
        path = self.workspace / "predictions" / f"{name}-{digest[:16]}.npy"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, softmax(predict_logits(model, self.test)))
        kept: Predictions = np.load(path)
        return kept

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


def finish_run(folder: RunFolder, workspace: Path, about: About, progress: Progress) -> Summary:
    """Measure, audit, judge and report a run; a run that did not complete gets a report that says so."""
    study = parse_study(read_yaml(folder.study), "study.yaml")
    state = load_state(folder.checkpoint, study.digest())
    completed = any(line["event"] == "study_completed" for line in read_lines(folder.events))
    summary = _recorded(folder, study, state, about, completed=completed)
    if state is None or not completed:
        return written(folder, study, summary)
    public = Public.load(workspace, study)
    student = merged_student(study, public.initial(), state)
    summary = _measured(folder, public, student, study, summary)
    temperature = _temperature(student, public)
    own = summary.metrics.federated_private or summary.metrics.federated
    reference = public_sets(workspace, study)["reference"]
    audit = run_audit(
        student,
        load_teacher(workspace, study),
        reference,
        study,
        folder.path,
        progress=_audit_progress(progress),
    )
    (folder.path / "audit.json").write_text(audit.model_dump_json(indent=1), encoding="utf-8")
    auc = own.auc if own is not None else Interval(value=None, reason="not measured")
    gate = judge(audit, auc, study)
    digest = _store_student(folder, student, study, temperature, gate)
    summary = summary.model_copy(
        update={
            "verdict": gate.verdict,
            "reasons": tuple(check.name for check in gate.checks if check.passed is False),
            "temperature": temperature,
            "audit": audit.model_dump(mode="json"),
            "gate": gate.model_dump(mode="json"),
            "model": _model_facts(student, study, state, folder.path / _weights_name(gate)),
            "digests": summary.digests | {"student": digest},
        }
    )
    if about.started is not None:
        total = {"total": round(time.monotonic() - about.started, 1)}
        summary = summary.model_copy(update={"seconds": summary.seconds | total})
    return written(folder, study, summary)


def written(folder: RunFolder, study: StudyConfig, summary: Summary) -> Summary:
    """Write summary, report and model card; returns the summary."""
    write_summary(folder.path, summary)
    write_report(folder.path, summary)
    write_model_card(folder.path, summary, study)
    return summary


def _recorded(
    folder: RunFolder, study: StudyConfig, state: StudyState | None, about: About, *, completed: bool
) -> Summary:
    """Return what the run's own records say, before anything is measured."""
    statements = state.statements if state else {}
    models = study.models
    return Summary(
        status="completed" if completed else "failed",
        verdict="none",
        seconds=dict(about.seconds),
        study=StudyFacts(
            name=study.name,
            digest=study.digest(),
            uid=state.study_uid if state else "",
            method=study.distillation.method,
            data_kind="real" if about.data_kind == "real" else "made",
            data_name=about.data_name,
            classes=study.task.classes,
            image_size=study.task.image_size,
            notes=about.notes,
            purpose=study.purpose,
            attribution=about.attribution,
        ),
        privacy=study.privacy,
        epsilon={site: one["epsilon"] for site, one in statements.items()},
        delta={site: one["delta"] for site, one in statements.items()},
        statements=statements,
        events=_events(folder),
        bytes_sent={site: tuple(counts) for site, counts in (state.bytes_received if state else {}).items()},
        rounds=_rounds(folder),
        digests={
            "study": study.digest(),
            "code": code_digest(),
            "teacher": str(models.teacher.sha256),
            "initial": str(models.initial_sha256),
            **{name.removesuffix("_sha256"): str(value) for name, value in study.public.model_dump().items()},
        },
        versions={
            name: version(name) for name in ("flwr", "torch", "timm", "ofa", "opacus", "teaching-rounds")
        },
    )


def _measured(
    folder: RunFolder, public: Public, student: CompactModel, study: StudyConfig, summary: Summary
) -> Summary:
    own = "federated_private" if study.privacy.enabled else "federated"
    probabilities = public.baselines(study=study)
    probabilities[own] = softmax(predict_logits(student, public.test))
    arrays: dict[str, Any] = {name: value.astype(np.float32) for name, value in probabilities.items()}
    arrays |= {"labels": public.test.labels, "patients": public.test.patients}
    np.savez_compressed(folder.path / "predictions.npz", **arrays)
    metrics = ByModel[Metrics].model_validate(
        {name: public.metrics(value) for name, value in probabilities.items()}
    )
    paired = tuple(
        Paired(a=own, b=other, difference=public.difference(probabilities[own], probabilities[other]))
        for other in ("warm_start", "teacher", "trivial")
    )
    return summary.model_copy(
        update={
            "metrics": metrics,
            "test_auc": auc_of(metrics),
            "paired": paired,
            "by_site_of_origin": _by_site(public.test, probabilities[own], study),
        }
    )


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
    """Fit the temperature on cohort patients that no weight was trained on."""
    held_out = calibration_part(public.cohort)
    return fit_temperature(predict_logits(student, held_out), held_out.labels) if len(held_out) else 1.0


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


def _rounds(folder: RunFolder) -> tuple[Round, ...]:
    """Return closed rounds; one that a killed hub recorded but did not save ran again, and its last record counts."""
    last = {line["round"]: line for line in read_lines(folder.rounds)}
    return tuple(_round(line) for line in last.values())


def _round(line: dict[str, Any]) -> Round:
    test = line.get("test", {})
    return Round(
        round=line["round"],
        answered=tuple(line.get("answered", ())),
        missing=line.get("missing", {}),
        test_auc=Interval.model_validate(test["auc"]) if "auc" in test else None,
        mask_area=test.get("mask_area"),
        seconds=line.get("seconds"),
        epsilon={site: value for site, value in line.get("epsilon", {}).items() if value is not None},
    )


def _events(folder: RunFolder) -> tuple[Event, ...]:
    """Refusals, silences and failures, in the order they happened."""
    told = []
    for line in read_lines(folder.events):
        outcome = line.get("outcome", "accepted")
        if line["event"] in _TOLD or outcome != "accepted":
            what = line.get("why") or (outcome if outcome != "accepted" else "no answer by the deadline")
            site = line.get("site") or line.get("node", "")
            told.append(Event(round=line.get("round", 0), site=site, code=line["event"], what=what))
    return tuple(told)


def _audit_progress(progress: Progress) -> Any:
    def report(done: int, total: int) -> None:
        progress("audit", done, total)

    return report
