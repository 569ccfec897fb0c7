"""The model card of one run: who may use the student, for what, on what evidence.

In: a `Summary` and its study. Out: model_card.md and model_card.json, made of what was measured; what nobody
measured or stated says so. Sections follow Mitchell et al. 2019 (arXiv 1810.03993); the fields under
'Applied model card' are those of CHAI's Applied Model Card v0.2 that apply.
"""

import json
import re
from pathlib import Path

from server.metrics.intervals import Interval
from server.presentation.formatting import NOT_MEASURED, NOT_STATED, shown
from server.presentation.gate_checks import check_lines
from server.presentation.privacy_statements import NOT_FOR_DIAGNOSIS
from server.presentation.svg_charts import interval_text
from server.report.audit_section import map_words
from server.report.chai_fields import Card, Entry, Section, applied_card
from server.report.sections import facts
from server.report.sentences import OVERLAP, calibration, claim, findings, headline, not_covered, spent_words
from server.report.stated_spend import sites
from server.runs.summary import Summary
from shared.config.study import StudyConfig


def write_model_card(run_dir: Path, summary: Summary, study: StudyConfig) -> None:
    """Write model_card.json and model_card.md; equal summaries give equal bytes."""
    card = model_card(summary, study)
    text = json.dumps(card, indent=1, ensure_ascii=False)
    (run_dir / "model_card.json").write_text(text + "\n", encoding="utf-8")
    (run_dir / "model_card.md").write_text(_markdown(card, summary.study.name), encoding="utf-8")


def model_card(summary: Summary, study: StudyConfig) -> Card:
    """Return the card as sections of named fields; a field is a text, a list, or a mapping of those."""
    return {
        "Model details": _details(summary, study),
        "Intended use": _use(summary, study),
        "Factors": _factors(summary),
        "Metrics": _metrics(summary),
        "Evaluation data": _evaluation_data(summary, study),
        "Training data": _training_data(summary, study),
        "Quantitative analyses": _figures(summary),
        "Ethical considerations": _ethics(summary, study),
        "Caveats and recommendations": _caveats(summary),
        "Applied model card (CHAI v0.2, fields that apply)": applied_card(summary, study),
    }


def _details(summary: Summary, study: StudyConfig) -> Section:
    return {
        "name": summary.study.name,
        "verdict": headline(summary),
        "developed by": NOT_STATED,
        "version": summary.digests.get("student", NOT_STATED),
        "study digest": summary.study.digest,
        "licence of the weights": NOT_STATED,
        "type": "image classifier: an explainer draws a mask, a student classifies what it lets through",
        **dict(facts(summary)),
        "training algorithm": (
            f"knowledge distillation ({study.distillation.method}) in {study.federation.rounds} federated rounds of "
            f"{study.federation.steps} steps"
        ),
        "papers": ["arXiv 2508.15251 (hybrid supervision)", "arXiv 2008.02593 (MED-TEX)"],
    }


def _use(summary: Summary, study: StudyConfig) -> Section:
    return {
        "purpose": study.purpose,
        "primary users": "researchers and auditors of the study",
        "not for": NOT_FOR_DIAGNOSIS,
        "out of scope": [
            f"classes other than {', '.join(summary.study.classes)}",
            "images of other kinds, views, ages or devices than those of the data named below",
            "any use while the verdict is not 'accepted', and any clinical use whatever the verdict",
        ],
    }


def _factors(summary: Summary) -> Section:
    groups = sorted(summary.by_site_of_origin)
    return {
        "relevant factors": "site of origin, device, view, age, sex, sickness",
        "factors evaluated": [f"site of origin: {', '.join(groups)}"] if groups else NOT_MEASURED,
        "factors not evaluated": "age, sex, ethnicity, device (not measured: the data's tables are not read)",
    }


def _metrics(summary: Summary) -> Section:
    return {
        "discrimination": "AUC, accuracy, macro F1, recall of each class",
        "calibration": "expected calibration error (15 bins), Brier score; before the temperature and after it",
        "uncertainty": "95 % intervals by resampling patients; differences of models by paired resampling",
        "explanation": "energy of maps over area in a region, insertion, deletion, agreement, mask area",
        "maps": map_words(summary.audit),
        "privacy": "epsilon and delta of each site's own ledger",
    }


def _evaluation_data(summary: Summary, study: StudyConfig) -> Section:
    main = summary.main
    return {
        "data": _data(summary),
        "size": f"{main.num_images} images of {main.num_patients} patients" if main else NOT_MEASURED,
        "test set digest": study.public.test_sha256 or NOT_STATED,
        "reference set digest": study.public.reference_sha256 or NOT_STATED,
        "reference images audited": shown(summary.audit.num_images if summary.audit else None),
        "overlap with training": OVERLAP,
        "notes": list(summary.study.notes) or NOT_STATED,
        "attribution": summary.study.attribution or NOT_STATED,
    }


def _training_data(summary: Summary, study: StudyConfig) -> Section:
    answered = sorted({site for one in summary.rounds for site in one.answered})
    return {
        "public cohort digest": study.public.cohort_sha256 or NOT_STATED,
        "sites that sent updates": answered or "none",
        "patients of the sites": "never leave the sites; how many there are is not released",
        "data": _data(summary),
    }


def _figures(summary: Summary) -> Section:
    return {
        "summary": findings(summary) or NOT_MEASURED,
        "test AUC": {name: interval_text(one) for _, name, one in summary.test_auc.named()} or NOT_MEASURED,
        "student": _one(summary),
        "by site of origin (AUC)": {
            site: interval_text(one.auc) for site, one in sorted(summary.by_site_of_origin.items())
        }
        or NOT_MEASURED,
        "by site of origin (AUC of twelve brightness numbers)": {
            site: interval_text(one) for site, one in sorted(summary.trivial_by_site_of_origin.items())
        }
        or NOT_MEASURED,
        "paired differences of AUC": {
            f"{one.a} minus {one.b}": interval_text(one.difference) for one in summary.paired
        }
        or NOT_MEASURED,
        "gate": {
            one.name: f"{one.mark} {one.state}: {one.sentence}"
            for one in check_lines(summary.gate.checks if summary.gate else ())
        }
        or NOT_MEASURED,
        "energy in the region against random maps": _ratio(summary),
    }


def _ethics(summary: Summary, study: StudyConfig) -> Section:
    spent = {
        site: f"epsilon {spent_words(summary, site)}, delta {shown(summary.delta.get(site))}"
        if site in summary.epsilon
        else NOT_STATED
        for site in sites(summary)
    }
    return {
        "ethics reference": study.ethics_reference,
        "privacy claim": claim(summary),
        "privacy spent": (spent or NOT_STATED),
        "not covered by the claim": list(not_covered(summary)),
        "risks": [
            "a map shows where evidence lies, not why, nor that the answer is right; maps invite over-reliance",
            "what looks like medicine may be exposure, framing or a hospital's marker: see the trivial model",
        ],
    }


def _caveats(summary: Summary) -> Section:
    return {
        "use": NOT_FOR_DIAGNOSIS,
        "data": list(summary.study.notes) or NOT_STATED,
        "kind of data": "made images: nothing here says anything about patients"
        if summary.study.data_kind == "made"
        else "small public sets: intervals are wide and confounders known and unknown remain",
        "not measured": _missing(summary) or "nothing that this card asks for",
    }


def _one(summary: Summary) -> Entry:
    one = summary.main
    if one is None:
        return NOT_MEASURED
    named: dict[str, Interval | None] = {
        "accuracy": one.accuracy,
        "macro F1": one.macro_f1,
        "ECE before temperature": one.ece,
        "Brier before temperature": one.brier,
    }
    named |= {f"recall of {name}": value for name, value in one.recall.items()}
    after = summary.calibrated
    named |= {"ECE after temperature": None if after is None else after.ece}
    named |= {"Brier after temperature": None if after is None else after.brier}
    return {name: interval_text(value) for name, value in named.items()} | {
        "calibration in words": " ".join(calibration(summary))
    }


def _ratio(summary: Summary) -> str:
    ratio = None if summary.audit is None else summary.audit.lift_ratio
    if ratio is None or ratio.value is None:
        return NOT_MEASURED
    return interval_text(ratio)


def _data(summary: Summary) -> str:
    kind = "real images" if summary.study.data_kind == "real" else "made images, not patients"
    return f"{summary.study.data_name} ({kind})"


def _missing(summary: Summary) -> list[str]:
    auc = summary.test_auc
    asked = {
        "trivial model": auc.trivial,
        "central training": auc.central,
        "sites alone": auc.site_alone or None,
        "federation without privacy": auc.federated,
        "explanations": summary.audit,
        "gate": summary.gate,
    }
    return [name for name, value in asked.items() if value is None]


def _markdown(card: Card, name: str) -> str:
    lines = [f"# Model card: {_plain(name)}", "", f"**{NOT_FOR_DIAGNOSIS}**", ""]
    for title, fields in card.items():
        lines += [f"## {title}", ""]
        for field, value in fields.items():
            lines += _field(field, value)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _field(name: str, value: Entry) -> list[str]:
    label = f"- **{_plain(name)}**:"
    if isinstance(value, dict):
        return [label, *(f"  - {_plain(key)}: {_plain(str(one))}" for key, one in value.items())]
    if isinstance(value, list):
        return [label, *(f"  - {_plain(str(one))}" for one in value)]
    return [f"{label} {_plain(str(value))}"]


def _plain(text: str) -> str:
    """Keep a text from acting as Markdown or HTML, on one line."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|!])", r"\\\1", " ".join(escaped.split()))
