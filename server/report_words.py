"""The sentences and numbers of report and model card, so that both say the same with the same strength.

In: a `Summary`. Out: plain text. Unknown is always 'not stated' or 'not measured', never a guess.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from server.figures import interval_text
from server.report_spend import sites_without_statement, stale_since
from server.results import Summary
from shared.release_kinds import KEPT_SIMULATION, THIS_RUN_ALONE

NOT_STATED = "not stated"
NOT_MEASURED = "not measured"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NOT_FOR_DIAGNOSIS = (
    "Research software. Not a medical device, not for diagnosis, and not for decisions about any patient."
)
WITHOUT_PRIVACY = (
    "No privacy guarantee holds for this run: privacy was switched off, so updates may reveal patients."
)
LEDGER_WITHOUT_PRIVACY = (
    "No privacy guarantee holds at {sites}: by the site's own ledger it answered without noise, in this run or "
    "before, or used weights that its hospital does not list as accepted, so what left may reveal patients."
)
CLAIM = (
    "For each site: (epsilon, delta) differential privacy for adding or removing all records of one patient "
    "identifier at that site, against the server and the other sites, even if they are malicious in every "
    "message (weights, configuration, timing, replays) and see everything sent over all runs."
)
NOT_COVERED = (
    (
        "A person at several hospitals, or under several identifiers, is covered by the sum of what those "
        "identifiers spend, not by one site's figure. Nothing here says that the federation as a whole is "
        "epsilon-private."
    ),
    "What is true of a whole group, or of many patients together, is meant to be learned and is not hidden.",
    (
        "That a hospital takes part, its name, the number of patients it declared and the versions it runs "
        "are known to the hub."
    ),
    (
        "Code is not trusted because the hub sent it: the claim holds for the code that the hospital "
        "approved, on a machine that the hospital controls."
    ),
    "Images of the public cohort, reference and test sets are not protected by this figure.",
)
OVERLAP = (
    "a patient in two of the three public sets is refused when the study is prepared and when the run is finished, "
    "where identifiers are equal; whether one is also a patient of a site is not checked: no identifier leaves a site"
)
LATE_REPLIES = (
    "Unless the study fixes reply times (reply_after_seconds), the arrival time of an answer tells roughly "
    "how large a site is."
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


IN_SIMULATION = (
    "This was a simulation: no hospital took part, and each site's ledger began with this run. "
    "The figures are the spend of this run alone."
)
IN_KEPT_SIMULATION = (
    "This was a simulation: no hospital took part. The made sites' ledgers were kept from earlier runs, and the "
    "figures are the spend of all of them."
)
STATED_BY_SOME = (
    "The ledgers of {stated} confirmed a spend in this run; {silent} let no ledger statement out. For {silent} read "
    "the following as the design's aim, not as a result."
)
UNCONFIRMED = (
    "No site's ledger confirmed a spend in this run: read the following as the design's aim, not as a result."
)


def event_word(code: str) -> str:
    """Name an event for a reader; an answer stands among the events only where it was not accepted."""
    return "not accepted" if code == "answered" else code.replace("_", " ")


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
        lines.append(without_privacy(summary))
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


def not_covered(summary: Summary) -> list[str]:
    """List what the privacy claim leaves out, or that there is none."""
    if not summary.privacy_enabled:
        return [without_privacy(summary)]
    spans = {str(one.get("span")) for one in summary.statements.values()}
    simulated = {THIS_RUN_ALONE: IN_SIMULATION, KEPT_SIMULATION: IN_KEPT_SIMULATION}
    return [*(words for span, words in simulated.items() if span in spans), *NOT_COVERED, LATE_REPLIES]


def without_privacy(summary: Summary) -> str:
    """Say that no guarantee holds, and by which of the two ways it came to that."""
    sites = [site for site, epsilon in sorted(summary.epsilon.items()) if epsilon is None]
    if sites and (summary.privacy is None or summary.privacy.enabled):
        return LEDGER_WITHOUT_PRIVACY.format(sites=" and ".join(sites))
    return WITHOUT_PRIVACY


def claim(summary: Summary) -> str:
    """Give the claim with the strength that this run supports."""
    if not summary.privacy_enabled:
        return without_privacy(summary)
    silent = sites_without_statement(summary)
    if summary.statements and silent:
        said = STATED_BY_SOME.format(stated=", ".join(sorted(summary.statements)), silent=", ".join(silent))
        return f"{said} {CLAIM}"
    return CLAIM if summary.statements else f"{UNCONFIRMED} {CLAIM}"


def spent_words(summary: Summary, site: str) -> str:
    """Say what a site stated to have spent, and of which round its statement is where that is not the last."""
    if summary.epsilon.get(site, 0) is None:
        return "no guarantee"
    since = stale_since(summary, site)
    return shown(summary.epsilon.get(site)) + ("" if since is None else f" as of round {since}, may be more")


def look_up(values: Mapping[str, Any], *keys: str) -> Any:
    """Return the first present, non-None value; a dot goes one level down; None when there is none."""
    for key in keys:
        node: Any = values
        for part in key.split("."):
            node = node.get(part) if isinstance(node, Mapping) else None
        if node is not None:
            return node
    return None


def shown(value: object, digits: int = 3) -> str:
    """Write a value for a reader: numbers short, lists joined, None as 'not stated'."""
    if value is None or value == "":
        return NOT_STATED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(value, digits)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(one, digits)}" for key, one in value.items()) or NOT_STATED
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(one, digits) for one in value) or "none"
    return str(value)


def _number(value: float, digits: int) -> str:
    if isinstance(value, int):
        return f"{value:,}".replace(",", "\u202f")
    if value and not 1e-3 <= abs(value) < 1e6:
        return _scientific(value)
    fixed = f"{value:.{digits}f}"
    return fixed.rstrip("0").rstrip(".") if "." in fixed else fixed


def _scientific(value: float) -> str:
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')} × 10{str(int(exponent)).translate(SUPERSCRIPTS)}"


def in_bytes(count: int) -> str:
    """Write a number of bytes: '1.2 MB'."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def rounded(summary: Summary) -> str | None:
    """Say what travelling as float16 did to updates; None where they travelled exactly."""
    errors = [error for one in summary.rounds for error in one.rounding.values()]
    return f"Updates travelled as float16: {rounded_by(max(errors))}." if errors else None


def rounded_by(error: float) -> str:
    """Say how far rounding moved an update, from the largest error over the norm (`server/rounding.py`)."""
    return f"rounding, after the noise, moved no update by more than {error:.2%} of its length"


def in_seconds(seconds: float | None) -> str:
    """Write a duration: '42 s', '3 min 20 s', '2 h 5 min'."""
    if seconds is None:
        return NOT_STATED
    whole = round(seconds)
    if whole < 120:
        return f"{seconds:.1f} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
