"""The model card as CHAI's Applied Model Card v0.2 (mc-schema, v0.2/schema.xsd): XML in the schema's order.

In: the fields that `server.report.chai_fields` wrote into model_card.json. Out: XML text. What is not known stays 'not
stated'.
"""

import json
from collections.abc import Mapping
from typing import Final
from xml.etree import ElementTree as ET

from server.presentation.formatting import NOT_STATED
from server.report.chai_fields import Card, Entry, Section

NAMESPACE: Final = "https://mc.chai.org/v0.2/schema.xsd"
SECTION: Final = "Applied model card (CHAI v0.2, fields that apply)"
# (element, field of the card) in the order that the schema asks for; a field of None is filled below
_PARTS: Final[tuple[tuple[str, tuple[tuple[str, str], ...]], ...]] = (
    ("BasicInfo", (("ModelName", "Name"), ("ModelDeveloper", "Developer"), ("DeveloperContact", "Contact"))),
    ("ReleaseInfo", (
        ("ReleaseStage", "Release stage"), ("ReleaseDate", "Release date"), ("ReleaseVersion", "Release version"),
        ("GlobalAvailability", "Global availability"), ("RegulatoryApproval", "Regulatory approval"),
    )),
    ("ModelSummary", (("Summary", "Summary"), ("Keywords", "Keywords"))),
    ("UsesAndDirections", (
        ("IntendedUseAndWorkflow", "Intended use and workflow"), ("PrimaryIntendedUsers", "Primary intended users"),
        ("HowToUse", "How to use"), ("TargetedPatientPopulation", "Targeted patient population"),
        ("CautionedOutOfScopeSettings", "Cautioned out-of-scope settings and use cases"),
    )),
    ("Warnings", (
        ("KnownRisksAndLimitations", "Known risks and limitations"),
        ("KnownBiasesOrEthicalConsiderations", "Known biases or ethical considerations"),
        ("ClinicalRiskLevel", "Clinical risk level"),
    )),
)  # fmt: skip
_FACTS: Final = (
    ("OutcomesAndOutputs", "Outcome and outputs"), ("ModelType", "Model type"),
    ("FoundationModels", "Foundation models used"), ("InputDataSource", "Input data source"),
    ("OutputAndInputDataTypes", "Output and input data types"),
    ("DevelopmentDataCharacterization", "Development data characterisation"),
    ("BiasMitigationApproaches", "Bias mitigation approaches"), ("OngoingMaintenance", "Ongoing maintenance"),
    ("Security", "Security and compliance"),
)  # fmt: skip
_TRANSPARENCY: Final = (
    ("FundingSource", "Transparency: funding"), ("ThirdPartyInformation", "Transparency: third parties"),
    ("StakeholdersConsulted", "Transparency: stakeholders consulted"),
)  # fmt: skip
_METRICS: Final = (
    ("UsefulnessUsabilityEfficacy", "Usefulness"), ("FairnessEquity", "Fairness"), ("SafetyReliability", "Safety"),
)  # fmt: skip


def chai_xml(card: Card) -> str:
    """Return the card as XML, the same text for the same card."""
    fields = card.get(SECTION, {})
    root = ET.Element("AppliedModelCard", xmlns=NAMESPACE)
    for part, names in _PARTS:
        parent = ET.SubElement(root, part)
        for element, name in names:
            _add(parent, element, fields.get(name))
    trust = ET.SubElement(root, "TrustIngredients")
    for part, names in (("AISystemFacts", _FACTS), ("TransparencyInformation", _TRANSPARENCY)):
        parent = ET.SubElement(trust, part)
        for element, name in names:
            _add(parent, element, fields.get(name))
    metrics = ET.SubElement(root, "KeyMetrics")
    for element, name in _METRICS:
        _metric(ET.SubElement(metrics, element), name, fields)
    resources = ET.SubElement(root, "Resources")
    _add(resources, "ClinicalTrial", fields.get("Clinical trial"))
    _add(resources, "PeerReviewedPublications", fields.get("Peer-reviewed evidence"))
    _add(resources, "PatientConsentOrDisclosure", fields.get("Patient consent"))
    _add(root, "Bibliography", "arXiv 2508.15251; arXiv 2008.02593")
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add(parent: ET.Element, element: str, value: Entry | None) -> None:
    made = ET.SubElement(parent, element)
    if element == "Keywords":
        for word in value or ():
            ET.SubElement(made, "Keyword").text = str(word)
    else:
        made.text = _text(value)


def _metric(parent: ET.Element, name: str, fields: Section) -> None:
    """Write one group of metrics: its goal, what came out, and on what."""
    _add(parent, "MetricGoal", fields.get(f"{name}: goal"))
    results, found = ET.SubElement(parent, "Results"), fields.get(f"{name}: result")
    for label, value in found.items() if isinstance(found, Mapping) else (("result", found),):
        one = ET.SubElement(results, "MetricResult")
        ET.SubElement(one, "Label").text = str(label)
        ET.SubElement(one, "ValueJson").text = json.dumps(
            {"kind": "single", "value": _text(value)}, ensure_ascii=False
        )
    _add(parent, "Interpretation", fields.get(f"{name}: interpretation"))
    _add(parent, "TestType", "retrospective, on public images held out by patient")
    _add(
        parent,
        "TestingDataDescription",
        fields.get(f"{name}: test data", fields.get("Usefulness: test data")),
    )
    _add(parent, "ValidationProcessAndJustification", fields.get("Safety: validation"))


def _text(value: Entry | None) -> str:
    if value is None or value == "":
        return NOT_STATED
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_text(one)}" for key, one in value.items()) or NOT_STATED
    if isinstance(value, list | tuple):
        return "; ".join(_text(one) for one in value) or NOT_STATED
    return str(value)
