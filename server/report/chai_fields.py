"""The fields of CHAI's Applied Model Card v0.2 (mc-schema, v0.2/schema.xsd) that apply to a study's student.

In: a `Summary` and its study. Out: named fields; what the software cannot know is 'not stated', for a person
to fill in before the card is used anywhere.
"""

from server.presentation.formatting import NOT_STATED, shown
from server.presentation.privacy_statements import NOT_FOR_DIAGNOSIS
from server.presentation.svg_charts import interval_text
from server.report.sentences import claim
from server.runs.summary import Summary
from shared.config.study import StudyConfig

Entry = str | list[str] | dict[str, str]  # what one field of a model card says
Section = dict[str, Entry]
Card = dict[str, Section]  # model_card.json, by the titles of its sections


def applied_card(summary: Summary, study: StudyConfig) -> Section:
    """Return the fields in the schema's order."""
    return (
        _basic(summary, study)
        | _uses(study)
        | _warnings(summary)
        | _ingredients(summary)
        | _key_metrics(summary)
    )


def _basic(summary: Summary, study: StudyConfig) -> Section:
    return {
        "Name": summary.study.name,
        "Developer": NOT_STATED,
        "Contact": NOT_STATED,
        "Release stage": {"accepted": "research, accepted by its gate"}.get(
            summary.verdict, "research, not released"
        ),
        "Release date": NOT_STATED,
        "Release version": summary.digests.get("student", NOT_STATED),
        "Global availability": NOT_STATED,
        "Regulatory approval": "none",
        "Summary": study.purpose,
        "Keywords": [*summary.study.classes, "federated learning", "knowledge distillation", "explanations"],
    }


def _uses(study: StudyConfig) -> Section:
    return {
        "Intended use and workflow": study.purpose,
        "Primary intended users": "researchers and auditors of the study",
        "How to use": "read the answer together with the mask and the map, and with the report's limits",
        "Targeted patient population": NOT_STATED,
        "Cautioned out-of-scope settings and use cases": NOT_FOR_DIAGNOSIS,
    }


def _warnings(summary: Summary) -> Section:
    return {
        "Known risks and limitations": list(summary.study.notes) or NOT_STATED,
        "Known biases or ethical considerations": "see 'Factors' and 'Ethical considerations'",
        "Clinical risk level": NOT_STATED,
    }


def _ingredients(summary: Summary) -> Section:
    kind = "real" if summary.study.data_kind == "real" else "made"
    return {
        "Outcome and outputs": f"one of {', '.join(summary.study.classes)} with a probability, a mask and a map",
        "Model type": f"compact model: explainer {shown(summary.model.explainer)}, student "
        f"{shown(summary.model.student)}",
        "Foundation models used": f"teacher {shown(summary.model.teacher)}",
        "Input data source": summary.study.data_name,
        "Output and input data types": f"image of {summary.study.image_size} px in, class probabilities out",
        "Development data characterisation": f"{kind} images; {summary.study.data_name}",
        "Bias mitigation approaches": "trivial brightness model as floor; figures by site of origin",
        "Ongoing maintenance": NOT_STATED,
        "Security and compliance": claim(summary),
        "Transparency: funding": NOT_STATED,
        "Transparency: third parties": NOT_STATED,
        "Transparency: stakeholders consulted": NOT_STATED,
    }


def _key_metrics(summary: Summary) -> Section:
    auc = interval_text(summary.main_auc)
    main, after = summary.main, summary.calibrated
    by_site = {site: interval_text(one.auc) for site, one in sorted(summary.by_site_of_origin.items())}
    return {
        "Usefulness: goal": "tell the classes apart on images of patients not trained on",
        "Usefulness: result": f"AUC {auc}",
        "Usefulness: test data": f"{main.num_patients} public patients" if main else "not measured",
        "Fairness: goal": "work alike whatever site an image came from",
        "Fairness: result": by_site or "not measured",
        "Fairness: interpretation": "by site of origin only; age, sex and ethnicity were not measured",
        "Safety: goal": "evidence lies in the organ; probabilities mean what they say; patients stay private",
        "Safety: result": f"calibration error {interval_text(main.ece if main else None)} before temperature, "
        f"{interval_text(after.ece if after else None)} after it; gate: {summary.verdict}",
        "Safety: validation": "internal; no external validation",
        "Peer-reviewed evidence": "none for this student",
        "Clinical trial": "none",
        "Patient consent": NOT_STATED,
    }
