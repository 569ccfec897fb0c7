"""Report and export tell one audit in the same way: what both show has the same words, figures and drawings."""

import re

import pytest

from server.dashboard.export.html_export import export_html
from server.evaluation.report_records import evaluation_figures, gate_body
from server.report.html_report import render_report
from server.runs.summary import Round, Summary
from server.store.database import open_store
from server.store.record_kinds import Body, FiguresBody, GateBody, RoundBody, StatementBody, StudyBody
from tests.audit_records import SMALL_UID, fill, small_study

SECTIONS = {
    "checks of the gate": r'aria-label="Checks of the gate">.*?</table>',
    "AUC of every model": r'aria-label="Test AUC of every model">.*?</table></div>\s*<p.*?</p>',
    "differences": r'aria-label="Differences of AUC">.*?</table>',
    "claim": r'<blockquote class="claim">.*?</blockquote>\s*<p.*?</p>',
    "label": r'<p class="sub">From each site.s own ledger.*?</table>',
    "membership": r"<dt>membership inference</dt>.*?</dl>\s*<p>.*?</p>",
    "limits of maps": r'<div class="limits"><h3>A map cannot show.*?</div>',
    "limits": r"What this does not cover</h.>\s*(<ul>.*?</ul>)",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory, full_summary: Summary) -> tuple[str, str]:
    """Return report and export of one study: figures and verdict of the full run, ledgers of the small study."""
    folder = tmp_path_factory.mktemp("told")
    records = [(_of_the_run(body, full_summary), blobs) for body, blobs in small_study()]
    store = open_store(folder / "store.sqlite")
    fill(store, records)
    with store.connect() as connection:
        exported = export_html(connection, SMALL_UID)
    store.dispose()
    return render_report(folder, _as_summary([body for body, _ in records], full_summary)), exported


def _of_the_run(body: Body, summary: Summary) -> Body:
    if isinstance(body, FiguresBody) and body.of == "evaluation":
        return FiguresBody(of="evaluation", figures=tuple(evaluation_figures(summary)))
    return gate_body(summary.gate) if isinstance(body, GateBody) and summary.gate else body


def _as_summary(bodies: list[Body], summary: Summary) -> Summary:
    (config,) = (body.config for body in bodies if isinstance(body, StudyBody))
    statements = {body.statement.site: body.statement for body in bodies if isinstance(body, StatementBody)}
    rounds = tuple(
        Round(
            round=body.round,
            answered=body.answered,
            missing=body.missing,
            epsilon={site: spent for site, spent in body.epsilon.items() if spent is not None},
        )
        for body in bodies
        if isinstance(body, RoundBody)
    )
    return summary.model_copy(
        update={
            "study": summary.study.model_copy(update={"data_kind": "made"}),
            "privacy": config.privacy,
            "statements": statements,
            "epsilon": {site: one.epsilon for site, one in statements.items()},
            "delta": {site: one.delta for site, one in statements.items()},
            "rounds": rounds,
            "events": (),
        }
    )


@pytest.mark.parametrize("section", SECTIONS)
def test_report_and_export_tell_a_section_alike(told: tuple[str, str], section: str) -> None:
    """It is in both, once, letter by letter the same."""
    report, export = (re.findall(SECTIONS[section], text, re.DOTALL) for text in told)
    assert len(report) == 1
    assert report == export
