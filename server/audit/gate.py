"""May this student be used? Fixed checks with thresholds that the study chose before anything was seen.

In: the audit of a candidate and its figures on the public test set. Out: one verdict with a sentence for each
check. The whole 95 percent interval must keep the limit, so that no verdict rests on chance in few images. A check
that could not be measured, or has no interval, holds the candidate: nothing passes for want of evidence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.metrics.audit_result import AuditResult
from server.metrics.gate_result import Check, GateResult, Side
from server.metrics.intervals import Interval
from server.presentation.formatting import shown
from server.presentation.privacy_label import missing_fields
from shared.config.study import StudyConfig
from shared.messages.release_kinds import LedgerStatement

FEWEST_MEASURED = 0.5  # share of the images with a region on which the student must show any evidence


@dataclass(frozen=True)
class _Limit:
    """A threshold, and the side of it on which a value has to lie: the two go together."""

    side: Side
    threshold: float


def judge(
    audit: AuditResult,
    test_auc: Interval,
    study: StudyConfig,
    statements: Mapping[str, LedgerStatement | None],
    *,
    finite_metrics: bool = True,
) -> GateResult:
    """Judge a candidate: `accepted` when every check that applies has passed, else `held` with the names.

    `test_auc` is the AUC on the public test set; `statements` holds the last ledger statement of each site that took
    part, None where there is none; `finite_metrics` says whether all predictions were finite.
    """
    checks = (
        _finite(audit, finite_metrics=finite_metrics),
        _auc(test_auc, study.audit.min_auc),
        _lift(audit, study.audit.min_lung_lift_ratio),
        _mask(audit, study.audit.max_mask_area),
        _label(statements, study),
    )
    failed = [check.name for check in checks if check.passed is False]
    if failed:
        return GateResult(verdict="held", sentence=f"Held because of: {', '.join(failed)}.", checks=checks)
    return GateResult(verdict="accepted", sentence=f"Accepted: {_count(checks)} passed.", checks=checks)


def _finite(audit: AuditResult, *, finite_metrics: bool) -> Check:
    wrong = [
        text
        for text, found in (
            ("weights that are not finite", not audit.finite_weights),
            (
                f"outputs that are not finite on {audit.num_not_finite} reference images",
                audit.num_not_finite > 0,
            ),
            ("test predictions that are not finite", not finite_metrics),
        )
        if found
    ]
    sentence = f"The student has {' and '.join(wrong)}." if wrong else "All weights and outputs are finite."
    return _check("finite numbers", sentence, passed=not wrong)


def _auc(auc: Interval, least: float) -> Check:
    name, limit = "test AUC", _Limit("least", least)
    if auc.low is None:
        return _not_measured(name, limit, auc.reason or "no test figures with an interval")
    sentence = (
        f"The AUC on the public test set is {_shown(auc)}; the whole interval must be at least {least:g}."
    )
    return _check(name, sentence, passed=auc.low >= least, value=auc.value, limit=limit)


def _lift(audit: AuditResult, least: float) -> Check:
    name, limit, ratio = "energy in the region", _Limit("least", least), audit.lift_ratio
    if audit.num_with_region == 0:
        return _not_measured(name, limit, "no reference image has a region mask")
    if ratio.low is None or ratio.n < FEWEST_MEASURED * audit.num_with_region:
        shown = f"{ratio.n} of {audit.num_with_region} images with a region"
        return _not_measured(name, limit, f"the student shows evidence for the true class on {shown}")
    sentence = (
        f"The student's maps put {_shown(ratio)} times as much energy into the region as random maps do "
        f"(images: {ratio.n} of {audit.num_with_region}); the whole interval must be at least {least:g}."
    )
    return _check(name, sentence, passed=ratio.low >= least, value=ratio.value, limit=limit)


def _mask(audit: AuditResult, most: float) -> Check:
    name, limit = "mask area", _Limit("most", most)
    if not audit.has_explainer:
        sentence = "No explainer: the whole image is used, so there is no mask to judge."
        return _check(name, sentence, passed=None, limit=limit)
    area = audit.overall.figures["mask_area"]
    if area.high is None:
        return _not_measured(name, limit, "too few reference images could be run")
    sentence = (
        f"The explainer keeps {_shown(area)} of an image; the whole interval must be at most {most:g}, because a "
        "mask that keeps everything explains nothing."
    )
    return _check(name, sentence, passed=area.high <= most, value=area.value, limit=limit)


def _label(statements: Mapping[str, LedgerStatement | None], study: StudyConfig) -> Check:
    """Hold a student of which nobody can say what privacy was spent on it."""
    name, clip = "privacy label", shown(study.privacy.max_grad_norm)
    if not study.privacy.enabled:
        sentence = "The study ran without privacy: nothing is claimed, so there is no label to judge."
        return _check(name, sentence, passed=None)
    open_fields = {site: missing_fields(one, clip) for site, one in sorted(statements.items())}
    gaps = [
        f"{site} ({'no ledger statement' if statements[site] is None else ', '.join(fields)})"
        for site, fields in open_fields.items()
        if fields
    ]
    complete = bool(statements) and not gaps
    sentence = (
        "Every site that took part stated each field of its privacy label."
        if complete
        else f"Not stated by {'; '.join(gaps) or 'any site'}: what was spent on patients there is not known."
    )
    return _check(name, sentence, passed=complete)


def _not_measured(name: str, limit: _Limit, reason: str) -> Check:
    return _check(name, f"Could not be measured: {reason}.", passed=False, limit=limit)


def _check(
    name: str,
    sentence: str,
    *,
    passed: bool | None,
    value: float | None = None,
    limit: _Limit | None = None,
) -> Check:
    threshold, side = (None, None) if limit is None else (limit.threshold, limit.side)
    return Check(name=name, value=value, threshold=threshold, passed=passed, sentence=sentence, side=side)


def _shown(figure: Interval) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.2f}"
    return f"{figure.value:.2f} (95 % interval {figure.low:.2f} to {figure.high:.2f})"


def _count(checks: Sequence[Check]) -> str:
    passed = sum(check.passed is True for check in checks)
    return f"{passed} of {passed} checks that apply"
