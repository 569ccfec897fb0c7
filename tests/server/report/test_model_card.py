import json
from pathlib import Path

from server.presentation.privacy_statements import CLAIM, NOT_FOR_DIAGNOSIS
from server.report.model_card import model_card, write_model_card
from server.runs.summary import Summary, auc_of
from shared.config.study import StudyConfig

SECTIONS = (
    "Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data",
    "Quantitative analyses", "Ethical considerations", "Caveats and recommendations",
)  # fmt: skip


def test_card_has_every_section_of_mitchell(
    tmp_path: Path, full_summary: Summary, full_study: StudyConfig
) -> None:
    """Both forms hold the nine sections, none empty, and say that the model is not for diagnosis."""
    write_model_card(tmp_path, full_summary, full_study)
    card = json.loads((tmp_path / "model_card.json").read_text())
    text = (tmp_path / "model_card.md").read_text()
    assert [name for name in card if not name.startswith("Applied")] == list(SECTIONS)
    assert all(value not in (None, "", [], {}) for fields in card.values() for value in fields.values())
    assert all(f"## {name}" in text for name in SECTIONS)
    assert NOT_FOR_DIAGNOSIS in text


def test_card_states_the_claim_exactly(full_summary: Summary, full_study: StudyConfig) -> None:
    """The privacy claim has the wording of the report, each site's spend, and what is not covered."""
    ethics = model_card(full_summary, full_study)["Ethical considerations"]
    assert ethics["privacy claim"] == CLAIM
    assert set(ethics["privacy spent"]) == set(full_summary.epsilon)
    assert any("several identifiers" in line for line in ethics["not covered by the claim"])


def test_card_without_guarantee_makes_no_claim(full_summary: Summary, full_study: StudyConfig) -> None:
    """Where one site's ledger holds no guarantee, the claim is replaced by a statement that none holds."""
    card = json.dumps(model_card(full_summary.model_copy(update={"epsilon": {"a": None}}), full_study))
    assert CLAIM not in card
    assert "No privacy guarantee holds" in card


def test_unknown_is_said_to_be_unknown(minimal_summary: Summary, full_study: StudyConfig) -> None:
    """A run that failed early measures nothing, and the card says so instead of leaving fields out."""
    card = model_card(minimal_summary, full_study)
    assert card["Quantitative analyses"]["test AUC"] == "not measured"
    assert card["Evaluation data"]["size"] == "not measured"
    assert "explanations" in card["Caveats and recommendations"]["not measured"]


def test_card_bytes_repeat_and_names_are_harmless(
    tmp_path: Path, full_summary: Summary, full_study: StudyConfig
) -> None:
    """Two cards of one summary are equal, and a name cannot act as HTML or as a link."""
    study = full_summary.study.model_copy(update={"name": "<script>[x](http://evil.test)\n# y"})
    hostile = full_summary.model_copy(update={"study": study})
    write_model_card(tmp_path, hostile, full_study)
    first = (tmp_path / "model_card.md").read_bytes()
    write_model_card(tmp_path, hostile, full_study)
    assert (tmp_path / "model_card.md").read_bytes() == first
    assert b"<script" not in first
    assert b"[x](" not in first.replace(b"\\[", b"").replace(b"\\]", b"")
    assert b"\n# y" not in first


def test_card_names_sites_that_stated_nothing(full_summary: Summary, full_study: StudyConfig) -> None:
    """A site without a ledger statement is 'not stated', and one with an old statement says of which round."""
    rest = {
        name: {site: value for site, value in getattr(full_summary, name).items() if site != "nih_cc_ap"}
        for name in ("statements", "epsilon", "delta")
    }
    spent = model_card(full_summary.model_copy(update=rest), full_study)["Ethical considerations"][
        "privacy spent"
    ]
    assert spent["nih_cc_ap"] == "not stated"
    assert "as of round 5, may be more" in spent["nih_cc_pa"]


def test_card_without_privacy_holds_the_main_model(full_summary: Summary, full_study: StudyConfig) -> None:
    """With privacy off the card's figures are those of the student without privacy, not 'not measured'."""
    metrics = full_summary.metrics.model_copy(update={"federated_private": None})
    card = model_card(
        full_summary.model_copy(update={"metrics": metrics, "test_auc": auc_of(metrics)}), full_study
    )
    applied = card["Applied model card (CHAI v0.2, fields that apply)"]
    assert "not measured" not in applied["Usefulness: result"] + applied["Usefulness: test data"]
    assert card["Quantitative analyses"]["student"] != "not measured"
    assert card["Evaluation data"]["size"] != "not measured"


def test_card_says_how_the_maps_were_made(full_summary: Summary, full_study: StudyConfig) -> None:
    """The card tells that the teacher's map uses a part of its channels, and of which layer."""
    said = model_card(full_summary, full_study)["Metrics"]["maps"]
    assert "layer features.28 (64 of its 512 channels)" in said


def test_card_tells_calibration_before_and_after_temperature(
    full_summary: Summary, full_study: StudyConfig
) -> None:
    """Raw and tempered calibration error stand apart, so that the raw one is not read as calibrated."""
    card = model_card(full_summary, full_study)
    student = card["Quantitative analyses"]["student"]
    assert student["ECE before temperature"] != student["ECE after temperature"] == "0.500"
    assert "0.500 after it" in card["Applied model card (CHAI v0.2, fields that apply)"]["Safety: result"]


def test_card_claims_no_check_of_overlap_that_is_not_made(
    full_summary: Summary, full_study: StudyConfig
) -> None:
    """Overlap is checked among the public sets only, and the card says that sites' patients are not."""
    said = model_card(full_summary, full_study)["Evaluation data"]["overlap with training"]
    assert "two of the three public sets" in said
    assert "a patient of a site is not checked" in said
