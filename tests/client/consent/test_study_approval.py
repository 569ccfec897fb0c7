"""A hospital sees what a study asks, approves it, and withdraws it; the site follows."""

from typing import Any

from client.rounds.answer import answer
from shared.config.files import write_yaml
from tests.probe_app import Hospital


def test_show_tells_what_is_asked(real: Hospital, tiny_federation: Any) -> None:
    """Purpose, ethics reference, expiry, what would leave, epsilon of the whole study, and what is decided."""
    told = real.says("study", "show", real.folder / "study.yaml")
    study = tiny_federation.study
    for part in (study.digest(), study.purpose, study.ethics_reference, str(study.expires)):
        assert part in told
    assert "in each of 2 rounds" in told
    assert "4 declared patients" in told
    asked = next(line for line in told.splitlines() if line.startswith("epsilon asked"))
    after = next(line for line in told.splitlines() if line.startswith("budget"))
    assert f"{float(asked.split()[2]):.1f}" == f"{float(after.split()[4]):.1f}"
    assert "nothing yet: no request is answered" in told
    real.says("study", "approve", study.digest())
    assert "approved here" in real.says("study", "show", study.digest())


def test_either_way_of_approving_counts_and_a_withdrawal_beats_both(
    real: Hospital, tiny_federation: Any
) -> None:
    """By YAML, by command, by both; withdrawn by command, neither the list nor the earlier approval helps."""
    digest = tiny_federation.study.digest()
    assert not real.site.approves_study(digest)
    real.change(approved_studies=[digest])
    assert real.site.approves_study(digest)
    real.says("study", "withdraw", digest)
    assert not real.site.approves_study(digest)
    real.change(approved_studies=[])
    real.says("study", "approve", real.folder / "study.yaml")
    assert real.site.approves_study(digest)
    real.says("study", "withdraw", digest)
    real.change(approved_studies=[digest])
    assert not real.site.approves_study(digest)
    assert "study_not_approved" in str(answer(real.site, tiny_federation.request("enrol", 0))["error"])


def test_a_digest_that_was_not_shown_is_not_approved(real: Hospital) -> None:
    """Nobody approves a study that does not lie here to be read; a wrong word for a digest is named."""
    assert "look at it first" in real.run("study", "approve", "0" * 64).stderr
    assert "allowed are 64 digits" in real.run("study", "withdraw", "study.yaml").stderr
    assert real.site.approvals().entries == ()


def test_signs_that_hide_are_spelled_out(real: Hospital, tiny_federation: Any) -> None:
    """A study's purpose cannot move or hide text on the terminal."""
    study = tiny_federation.study.model_copy(update={"purpose": "good\x1b[2Kbad"})
    write_yaml(real.folder / "other.yaml", study)
    told = real.says("study", "show", real.folder / "other.yaml")
    assert "\x1b" not in told
    assert "good\\u001b[2Kbad" in told
