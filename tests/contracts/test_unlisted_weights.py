"""Weights that a hospital does not vouch for end the guarantee, from the site's answer to the report's words."""

from pathlib import Path
from typing import Any

from server.app import initial_state
from server.evaluation.run_records import About, recorded_summary
from server.presentation.privacy_statements import CLAIM
from server.report.html_report import render_report
from server.rounds.round_score import round_score
from server.rounds.study import run_study
from server.runs.run_folder import RunFolder
from shared.models.initial import unpack_initial


def test_one_site_with_unlisted_weights_takes_the_claim_out_of_the_report(
    tiny_federation: Any, tmp_path: Path
) -> None:
    """The report names the site at which no guarantee holds, states no claim, and keeps the other sites' spend."""
    study, folder = tiny_federation.study, RunFolder(tmp_path)
    careless = {"accepted_digests": {}, "allow_without_privacy": True}
    sites = tiny_federation.sites(tmp_path / "state", film=careless)
    compact, _ = unpack_initial(study, initial_state(tiny_federation.workspace, study))
    score = round_score(tiny_federation.workspace, study, compact)
    state = run_study(study, tiny_federation.initial, tiny_federation.hospitals(sites), folder, score)
    summary = recorded_summary(folder, study, state, About("made", "phantoms"), completed=True)
    assert summary.epsilon["film"] is None
    assert all(summary.epsilon[name] is not None for name in ("bedside", "children"))
    text = render_report(tmp_path, summary)
    assert "No privacy guarantee holds at film" in text
    assert "privacy was switched off" not in text
    assert CLAIM not in text
