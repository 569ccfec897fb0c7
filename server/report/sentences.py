"""The sentences and numbers of report and model card, so that both say the same with the same strength.

In: a `Summary`. Out: plain text. Unknown is always 'not stated' or 'not measured', never a guess.
"""

from server.presentation import privacy_section
from server.presentation.formatting import NOT_STATED, rounded_by, shown
from server.presentation.privacy_section import Label
from server.presentation.svg_charts import interval_text
from server.report.stated_spend import sites, sites_without_statement, stale_since
from server.runs.summary import Summary

OVERLAP = (
    "a patient in two of the three public sets is refused when the study is prepared and when the run is finished, "
    "where identifiers are equal; whether one is also a patient of a site is not checked: no identifier leaves a site"
)
GLOSSARY = (
    ("Teacher", "the large frozen classifier whose answers are imitated"),
    ("student", "the small classifier that is trained and may be released"),
    ("explainer", "the small network that draws the mask"),
    ("mask", "how much of each part of the image the student is allowed to see"),
    ("map", "where a model's evidence for the true class lies (Score-CAM)"),
    ("round", "one exchange: hub to sites and back"),
    ("epsilon and delta", "how much one patient can change what leaves a site; smaller is stricter"),
    ("AUC", "the chance that a random sick image is ranked above a random healthy one; 0.5 is guessing"),
    ("95 % interval", "made so that 95 of 100 such intervals hold the true value; patients are resampled"),
    ("lift", "share of a map's energy in the region (lungs, lesions) over the region's area; 1 is uniform"),
    ("insertion and deletion", "how fast the answer comes or goes as what a map names is shown or hidden"),
    ("ledger", "a site's append-only account of everything it released"),
    ("gate", "the checks, with limits set before the run, that decide between accepted and held"),
)


TEMPERATURE_HARMS = (
    "On the test set the temperature makes the {figures} larger: calibrated on the public cohort is not "
    "calibrated everywhere."
)
HELD = "The student is held back and may not be exported."


def headline(summary: Summary) -> str:
    """Say in one sentence what happened."""
    why = f": {'; '.join(summary.reasons)}" if summary.reasons else ""
    if summary.status == "failed":
        return f"The run failed{why or ', and no reason was recorded'}."
    if summary.verdict == "accepted":
        return "The student passed every check that was set before the run."
    if summary.verdict == "held":
        return f"The student is held back and may not be exported. Reason{why}." if why else HELD
    return f"The run completed; no gate decided about the student{why}."


def findings(summary: Summary) -> list[str]:
    """Give the few sentences a reader in a hurry needs, each with its interval."""
    auc, lines = summary.test_auc, []
    main = summary.main_auc
    if main is not None and main.value is not None:
        others = [
            f"{name} {interval_text(one, 2)}"
            for name, one in (
                ("the teacher reaches", auc.teacher),
                ("the warm start before any hospital took part", auc.warm_start),
                ("twelve brightness numbers alone", auc.trivial),
            )
            if one is not None
        ]
        lines.append(
            f"On {main.n} public test patients the student reaches an AUC of "
            f"{interval_text(main, 2)}" + (f"; {', '.join(others)}." if others else ".")
        )
    spent = [value for value in summary.epsilon.values() if value is not None]
    silent = sites_without_statement(summary)
    if summary.privacy_enabled and spent:
        lines.append(
            f"The most any site stated to have spent on one patient is epsilon {max(spent):.2f}"
            + (f" at delta {shown(max(summary.delta.values()))}" if summary.delta else "")
            + (f"; not stated by {', '.join(silent)}." if silent else ".")
        )
    if not summary.privacy_enabled:
        lines.append(claim(summary))
    return lines


def calibration(summary: Summary) -> list[str]:
    """Say how far the student's probabilities are off, before and after the temperature, and where it does harm."""
    main, after = summary.main, summary.calibrated
    if main is None:
        return []
    before = f"expected calibration error {interval_text(main.ece)} (15 bins; 0 is best)"
    lines = [f"Before temperature: {before}, Brier score {interval_text(main.brier)}."]
    if summary.temperature is None:
        return [*lines, "No temperature was fitted."]
    figures = (
        "error on the test set not measured"
        if after is None
        else f"expected calibration error {interval_text(after.ece)}, Brier score {interval_text(after.brier)}"
    )
    lines.append(
        f"After temperature {shown(summary.temperature, 2)}, fitted on held-out patients of the public cohort: "
        f"{figures}."
    )
    pairs = {} if after is None else {"calibration error": "ece", "Brier score": "brier"}
    worse = [
        name
        for name, key in pairs.items()
        if (getattr(after, key).value or 0) > (getattr(main, key).value or 0)
    ]
    if worse:
        lines.append(TEMPERATURE_HARMS.format(figures=" and the ".join(worse)))
    return lines


def not_covered(summary: Summary) -> tuple[str, ...]:
    """List what the privacy claim leaves out, or that there is none."""
    return privacy_section.not_covered(summary.statements, summary.epsilon, private=_is_private(summary))


def claim(summary: Summary) -> str:
    """Give the claim with the strength that this run supports, or say that no guarantee holds."""
    return privacy_section.claim(
        summary.epsilon, sites_without_statement(summary), private=_is_private(summary)
    )


def spent_words(summary: Summary, site: str) -> str:
    """Say what a site stated to have spent, and of which round its statement is where that is not the last."""
    if site not in summary.epsilon:
        return NOT_STATED
    return privacy_section.spent_words(summary.epsilon[site], stale_since(summary, site))


def privacy_label(summary: Summary) -> Label:
    """Return the label of every site that took part."""
    clip = NOT_STATED if summary.privacy is None else shown(summary.privacy.max_grad_norm)
    spent = {site: spent_words(summary, site) for site in summary.statements}
    return privacy_section.label_of(sites(summary), summary.statements, spent, clip)


def _is_private(summary: Summary) -> bool:
    return summary.privacy is None or summary.privacy.enabled


def rounded(summary: Summary) -> str | None:
    """Say what travelling as float16 did to updates; None where they travelled exactly."""
    errors = [error for one in summary.rounds for error in one.rounding.values()]
    return f"Updates travelled as float16: {rounded_by(max(errors))}." if errors else None
