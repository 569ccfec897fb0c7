"""What a reader is told of membership inference: figures beside chance, or that there are none, and why."""

from pathlib import Path

import pytest

from server.metrics.membership_result import FILE, Membership, read_membership, write_membership
from server.presentation.membership_statements import HEAD, MODELS, membership_view
from server.report.html_report import render_report
from server.runs.summary import Summary
from tests.membership_figures import drawn_membership

STUDENT = "5" * 64


@pytest.fixture(scope="module")
def found() -> Membership:
    """Return figures of every student."""
    return drawn_membership(STUDENT)


def test_a_measured_study_says_so_with_every_student_and_attack(found: Membership) -> None:
    """Six students by three attacks; each row has its numbers of patients and the ledger's epsilon."""
    view = membership_view(found, is_made=True)
    assert view.state == "measured"
    assert [row[:2] for row in view.rows] == [
        (MODELS[model], attack)
        for model in MODELS
        for attack in ("loss threshold", "LiRA, offline", "RMIA, offline")
    ]
    assert all(len(row) == len(HEAD) for row in view.rows)
    assert {row[4] for row in view.rows} == {"600 / 600"}
    assert [row[5] for row in view.rows[::3]] == ["7.96", "0", "no bound", "0", "0", "no bound"]


def test_a_figure_is_the_one_that_was_measured(found: Membership) -> None:
    """Share and interval of a row, and the sentence of the most telling attack, by hand from the counts."""
    view = membership_view(found, is_made=True)
    rate = found.models[5].attacks[1].true_positive
    assert rate is not None
    assert (
        view.rows[16][3]
        == f"{100 * rate.hits / 600:.1f} % ({100 * rate.low:.1f} % to {100 * rate.high:.1f} %)"
    )
    most = max(
        found.models[0].attacks, key=lambda one: one.true_positive.hits if one.true_positive else 0
    ).true_positive
    assert most is not None
    assert f"finds {100 * most.hits / 600:.1f} % (" in view.finding
    assert "chance is 1 %" in view.finding
    assert "never saw these patients gives" in view.finding


def test_few_non_members_are_not_measured_at_one_percent() -> None:
    """The state says so, and each rate names its own level and the reason."""
    view = membership_view(drawn_membership(STUDENT, 60), is_made=True)
    assert view.state == "not measured at 1 %"
    said = "at 2 % false alarms (too few non-members for 1 %: 60, at least 100 are needed)"
    assert all(said in row[3] for row in view.rows)


def test_too_few_patients_are_not_measured() -> None:
    """No row has a rate, and the finding is the reason."""
    view = membership_view(drawn_membership(STUDENT, 9), is_made=True)
    assert view.state == "not measured"
    assert view.finding == "Not measured: too few non-members: 9, at least 10 are needed."
    assert all(row[3].startswith("not measured: too few") for row in view.rows)


@pytest.mark.parametrize(
    ("is_made", "why"), [(True, "Not measured here"), (False, "never leave their hospital")]
)
def test_without_figures_the_reason_and_the_command_are_named(is_made: bool, why: str) -> None:
    """Nothing stands where nothing was measured but why, and what measures it."""
    view = membership_view(None, is_made=is_made)
    assert (view.state, view.rows, view.notes) == ("not measured", (), ())
    assert why in view.finding
    assert "make membership" in view.finding


def test_the_report_shows_both_states(run_dir: Path, full_summary: Summary, found: Membership) -> None:
    """In the section on privacy: 'not measured' as it is, 'measured' with the table once there are figures."""
    assert "<dt>membership inference</dt><dd>not measured</dd>" in render_report(run_dir, full_summary)
    text = render_report(run_dir, full_summary.model_copy(update={"membership": found}))
    assert "<dt>membership inference</dt><dd>measured</dd>" in text
    privacy = text[text.index('id="privacy"') : text.index('id="explanations"')]
    for row in membership_view(found, is_made=False).rows:
        assert all(cell in privacy for cell in row[3:])


def test_figures_of_other_weights_are_nobodys(tmp_path: Path, found: Membership) -> None:
    """A file is read for the student that it names; one that is missing or cut is as none."""
    assert read_membership(tmp_path, STUDENT) is None
    write_membership(tmp_path, found)
    assert read_membership(tmp_path, STUDENT) == found
    assert read_membership(tmp_path, "6" * 64) is None
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:100])
    assert read_membership(tmp_path, STUDENT) is None
