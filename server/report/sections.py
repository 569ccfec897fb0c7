"""What each section of the report shows, as rows and figures: arranging, no markup beyond the SVG figures.

In: a `Summary` and the folder of its run. Out: one mapping for the template.
"""

from pathlib import Path
from typing import Any

from server.metrics.intervals import Interval
from server.presentation.formatting import NOT_STATED, event_word, in_bytes, in_seconds, shown
from server.presentation.gate_checks import check_lines
from server.presentation.map_limits import CANNOT
from server.presentation.membership_statements import membership_view
from server.presentation.model_facts import model_rows
from server.presentation.model_names import model_name
from server.presentation.performance_figures import auc_table, difference_rows, learning_curve, row_kind
from server.presentation.privacy_statements import NOT_FOR_DIAGNOSIS
from server.presentation.status_words import status
from server.presentation.svg_charts import interval_bar, interval_text, reliability_figure
from server.report import audit_section as report_audit
from server.report import sentences as report_words
from server.report.curves import mask_figure, spend_figure
from server.report.stated_spend import sites
from server.runs.summary import Round, Summary

MOST_ROUNDS = 60  # rows of the round table; past it only rounds with something to say
VERDICTS = {
    "accepted": ("✓", "Accepted"),
    "held": ("✕", "Held"),
    "none": ("—", "No verdict"),
    "failed": ("✕", "Failed"),
}


def page(summary: Summary, run_dir: Path) -> dict[str, Any]:
    """Arrange everything that the template prints."""
    kind = "failed" if summary.status == "failed" else summary.verdict
    main = summary.main
    return {
        "s": summary,
        "words": report_words,
        "event_word": event_word,
        "not_for_diagnosis": NOT_FOR_DIAGNOSIS,
        "kind": kind,
        "verdict": VERDICTS[kind],
        "headline": report_words.headline(summary),
        "findings": report_words.findings(summary),
        "tiles": tiles(summary),
        "status_of": status,
        "checks": check_lines(summary.gate.checks if summary.gate else ()),
        "facts": facts(summary),
        "aucs": auc_table(dict(summary.test_auc.measured())),
        "recall": recall_rows(summary),
        "main": main,
        "reliability": reliability_figure("Calibration of the student, before temperature", main.reliability)
        if main and main.reliability
        else None,
        "origin_rows": origin_rows(summary),
        "site_count_rows": site_count_rows(summary),
        "curve": learning_curve(
            [(one.round, one.test_auc) for one in summary.rounds if one.test_auc is not None],
            summary.test_auc.teacher,
            summary.test_auc.warm_start,
        ),
        "rounds": round_rows(summary),
        "sites": sites(summary),
        "label": report_words.privacy_label(summary),
        "spend": spend_figure(summary),
        "membership": membership_view(summary.membership, is_made=summary.study.data_kind == "made"),
        "lifts": report_audit.lift_rows(summary.audit),
        "cannot": CANNOT,
        "maps": report_audit.map_words(summary.audit),
        "groups": report_audit.group_rows(summary.audit),
        "lift_names": [name for _, name in report_audit.LIFTS],
        "behaviour_names": [name for _, name in report_audit.BEHAVIOUR],
        "panels": report_audit.PANELS,
        "examples": report_audit.examples(summary.audit, run_dir),
        "scale": report_audit.data_uri(run_dir, "audit/scale.png"),
        "mask_area": mask_figure(summary),
        "paired": difference_rows((one.a, one.b, one.difference) for one in summary.paired),
        "seeds": seed_rows(summary),
        "traffic": traffic_rows(summary),
        "stages": [(name, in_seconds(seconds)) for name, seconds in summary.seconds.items()],
    }


def tiles(summary: Summary) -> list[tuple[str, str, str]]:
    """(figure, what it is, what goes with it) for the head of the page; only what was measured."""
    found = []
    auc = summary.main_auc
    if auc is not None and auc.value is not None:
        found.append((f"{auc.value:.2f}", "AUC on the public test set", f"95 % interval {_span(auc)}"))
    spent = [value for value in summary.epsilon.values() if value is not None]
    if summary.privacy_enabled and spent:
        delta = f"at delta {shown(max(summary.delta.values()))}" if summary.delta else ""
        found.append((f"ε {max(spent):.2f}", "most privacy that a site stated to have spent", delta))
    ratio = None if summary.audit is None else summary.audit.lift_ratio
    if ratio is not None and ratio.value is not None:
        found.append(
            (
                f"{ratio.value:.2f} ×",
                "energy in the region against random maps",
                f"95 % interval {_span(ratio)}",
            )
        )
    if summary.model.num_parameters:
        size = summary.model.num_bytes
        label = in_bytes(size) if size else "parameters in all"
        found.append(
            (f"{summary.model.num_parameters / 1e6:.2f} M", "parameters of the compact model", label)
        )
    if summary.rounds:
        answered = {site for one in summary.rounds for site in one.answered}
        closed = sum(one.round > 0 for one in summary.rounds)
        found.append((f"{len(answered)}", "sites that answered", f"over {closed} rounds"))
    return found


def facts(summary: Summary) -> list[tuple[str, str]]:
    """Describe the model, line by line."""
    study = summary.study
    return model_rows(summary.model, study.classes, study.image_size, study.method)


def recall_rows(summary: Summary) -> list[tuple[str, str, list[str]]]:
    """(kind of row, model, recall of each class, then accuracy and macro F1) of every model measured."""
    known = [key for key, _ in summary.metrics.measured()]
    return [
        (
            row_kind(key, known),
            name,
            [
                interval_text(cell, 2)
                for cell in (
                    *(one.recall.get(label) for label in summary.study.classes),
                    one.accuracy,
                    one.macro_f1,
                )
            ],
        )
        for key, name, one in summary.metrics.named()
    ]


def origin_rows(summary: Summary) -> list[tuple[str, str, str, Any, str, str]]:
    """Show the student by site of origin: images and patients, AUC, bar, accuracy, AUC of the trivial model."""
    return [
        (
            site,
            f"{shown(one.num_images)} ({shown(one.num_patients)})",
            interval_text(one.auc, 2),
            interval_bar(f"AUC, images of {site}", one.auc, 0, 1, marks=(0.5,)),
            interval_text(one.accuracy, 2),
            interval_text(summary.trivial_by_site_of_origin.get(site), 2),
        )
        for site, one in sorted(summary.by_site_of_origin.items())
    ]


def site_count_rows(summary: Summary) -> list[tuple[str, str]]:
    """Return each site's own accuracy from its noised counts, or that the noise drowns it."""
    rows = []
    for site, counts in sorted(summary.site_counts.items()):
        found = counts.accuracy()
        text = (
            "too few patients for this noise" if found is None else f"{found[0]:.2f} ± {1.96 * found[1]:.2f}"
        )
        rows.append((site, text))
    return rows


def round_rows(summary: Summary) -> list[Round]:
    """All rounds when few; else the first, the last and those in which a site was missing."""
    if len(summary.rounds) <= MOST_ROUNDS:
        return list(summary.rounds)
    ends = {summary.rounds[0].round, summary.rounds[-1].round}
    return [one for one in summary.rounds if one.missing or one.round in ends][: 2 * MOST_ROUNDS]


def seed_rows(summary: Summary) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Columns and rows of the table of seeds: AUC of every model, then every paired difference."""
    names = dict.fromkeys(name for one in summary.seeds for _, name, _ in one.test_auc.named())
    pairs = dict.fromkeys((pair.a, pair.b) for one in summary.seeds for pair in one.paired)
    head = [*names, *(f"{model_name(a)} minus {model_name(b)}" for a, b in pairs)]
    rows = []
    for one in summary.seeds:
        auc = {name: value for _, name, value in one.test_auc.named()}
        gaps = {(pair.a, pair.b): pair.difference for pair in one.paired}
        cells = [*(auc.get(name) for name in names), *(gaps.get(pair) for pair in pairs)]
        rows.append((str(one.seed), [interval_text(cell, 2) for cell in cells]))
    return head, rows


def traffic_rows(summary: Summary) -> list[tuple[str, str, str, str]]:
    """(site, answers, bytes an answer, bytes in all)."""
    return [
        (site, str(len(sent)), in_bytes(round(sum(sent) / len(sent))) if sent else "—", in_bytes(sum(sent)))
        for site, sent in sorted(summary.bytes_sent.items())
    ]


def _span(one: Interval) -> str:
    return f"{one.low:.2f} to {one.high:.2f}" if one.low is not None and one.high is not None else NOT_STATED
