"""What was measured, as records of the audit store: figures, verdict, model, data and documents.

In: the summary of a run and its card. Out: bodies. Arranging only: every number was computed elsewhere.
"""

from collections.abc import Iterator

from server.metrics.audit_result import FIGURES, AuditResult, Group
from server.metrics.gate_result import GateResult
from server.metrics.measured import Metrics
from server.report.chai_fields import Card
from server.runs.study_journal import plain
from server.runs.summary import Summary
from server.store.record_kinds import (
    EVERY,
    Body,
    DataBody,
    DocumentBody,
    Figure,
    FiguresBody,
    GateBody,
)


def summary_records(summary: Summary, card: Card) -> list[Body]:
    """Return the records of a run's data, figures, verdict and documents; what was not measured has none."""
    facts = summary.study
    found: list[Body] = [
        DataBody(
            data_kind=facts.data_kind,
            name=facts.data_name,
            notes=facts.notes,
            attribution=facts.attribution,
        )
    ]
    if figures := tuple(evaluation_figures(summary)):
        found.append(FiguresBody(of="evaluation", figures=figures))
    if summary.audit is not None:
        found.append(FiguresBody(of="audit", figures=tuple(audit_figures(summary.audit))))
        found.append(DocumentBody(name="audit", document=summary.audit.model_dump(mode="json")))
        if drift := tuple(drift_figures(summary.audit)):
            found.append(FiguresBody(of="drift", figures=drift))
    if summary.membership is not None:
        found.append(DocumentBody(name="membership", document=summary.membership.model_dump(mode="json")))
    if summary.gate is not None:
        found.append(gate_body(summary.gate))
    found.append(DocumentBody(name="summary", document=without_paths(summary).model_dump(mode="json")))
    found.append(DocumentBody(name="model_card", document=card))
    return found


def without_paths(summary: Summary) -> Summary:
    """Return a summary whose sentences name files without the folders of this machine."""
    events = tuple(one.model_copy(update={"what": plain(one.what)}) for one in summary.events)
    rounds = tuple(
        one.model_copy(update={"missing": {site: plain(why) for site, why in one.missing.items()}})
        for one in summary.rounds
    )
    reasons = tuple(map(plain, summary.reasons))
    return summary.model_copy(update={"events": events, "rounds": rounds, "reasons": reasons})


def evaluation_figures(summary: Summary) -> Iterator[Figure]:
    """Yield the figures on the public test set: of every model, of pairs as `a-b`, and by site of origin."""
    for key, _, metrics in summary.metrics.named():
        yield from _of_model(key, metrics)
    for name, interval in (
        ("ece_calibrated", summary.calibrated and summary.calibrated.ece),
        ("brier_calibrated", summary.calibrated and summary.calibrated.brier),
    ):
        if interval is not None:
            yield Figure(name=name, subject=summary.metrics.main_key, interval=interval)
    for pair in summary.paired:
        yield Figure(name="auc", subject=f"{pair.a}-{pair.b}", interval=pair.difference)
    for site, metrics in summary.by_site_of_origin.items():
        yield from _of_model(summary.metrics.main_key, metrics, source=site)
    for site, auc in summary.trivial_by_site_of_origin.items():
        yield Figure(name="auc", subject="trivial", source=site, interval=auc)


def audit_figures(audit: AuditResult) -> Iterator[Figure]:
    """Yield every figure of the reference set: over all images, by true class, and by site of origin."""
    yield from _of_group(audit.overall)
    for group in audit.by_class:
        yield from _of_group(group, label=group.name)
    for group in audit.by_site:
        yield from _of_group(group, source=group.name)
    yield Figure(name="lift_ratio", subject="student-random", interval=audit.lift_ratio)


def drift_figures(audit: AuditResult) -> Iterator[Figure]:
    """Yield what changed since the last accepted student; nothing where there is none to compare with."""
    if audit.drift is not None:
        for one in audit.drift.figures:
            yield Figure(
                name=one.name, subject="student-last_accepted", label=one.label, interval=one.interval
            )


def gate_body(gate: GateResult) -> GateBody:
    """Return the record of a verdict."""
    return GateBody(verdict=gate.verdict, sentence=gate.sentence, checks=gate.checks)


def _of_model(subject: str, metrics: Metrics, source: str = EVERY) -> Iterator[Figure]:
    named = {
        "auc": metrics.auc, "accuracy": metrics.accuracy, "macro_f1": metrics.macro_f1, "ece": metrics.ece,
        "brier": metrics.brier,
    }  # fmt: skip
    for name, interval in named.items():
        yield Figure(name=name, subject=subject, source=source, interval=interval)
    for label, interval in metrics.recall.items():
        yield Figure(name="recall", subject=subject, label=label, source=source, interval=interval)


def _of_group(group: Group, label: str = EVERY, source: str = EVERY) -> Iterator[Figure]:
    for name in FIGURES:
        yield Figure(
            name=name, subject=_subject(name), label=label, source=source, interval=group.figure(name)
        )


def _subject(name: str) -> str:
    """Return which map or model a figure of the audit is of."""
    quantity, _, of = name.rpartition("_")
    if quantity == "agreement":
        return f"student-{of}"
    return {"mask_area": "explainer", "probability_true": "student"}.get(name, of)
