import re
from pathlib import Path

import pytest

from server.metrics.intervals import Interval
from server.metrics.metrics import evaluate
from server.presentation.svg_charts import Line, line_figure
from server.report import audit_section as report_audit
from server.report import stated_spend as report_spend
from server.report.html_report import render_report, write_report
from server.report.sentences import privacy_label
from server.runs.summary import Event, Paired, StudyFacts, Summary, auc_of
from shared.config.study import Privacy

CENTRAL_EPOCHS = 2

LOADS = re.compile(r"""(?:src|href|action|data)\s*=\s*["']?([^"'\s>]+)|url\(\s*["']?([^"')\s]+)|@import""")
SECTIONS = (
    "verdict",
    "model",
    "performance",
    "rounds",
    "privacy",
    "explanations",
    "comparisons",
    "provenance",
)


def test_full_report_has_every_section_and_figure(run_dir: Path, full_summary: Summary) -> None:
    """A full run shows every section in the reader's order, three pictures and its four charts."""
    text = write_report(run_dir, full_summary).read_text()
    places = [text.index(f'id="{name}"') for name in SECTIONS]
    assert places == sorted(places)
    assert text.count('class="example"') == 3
    assert text.count('<figure class="chart">') == 4


def test_failed_run_renders_and_says_what_is_not_known(tmp_path: Path, minimal_summary: Summary) -> None:
    """A run that failed early still gives every section, its reason, and no invented number."""
    text = render_report(tmp_path, minimal_summary)
    assert all(f'id="{name}"' in text for name in SECTIONS)
    assert "The run failed: two sites enrolled, three were needed." in text
    assert "Explanations were not measured" in text
    assert "nothing is known of its spend" in text


def test_two_renderings_have_equal_bytes(run_dir: Path, full_summary: Summary) -> None:
    """The same summary gives the same bytes, whenever it is rendered and also after a round trip."""
    again = Summary.model_validate_json(full_summary.model_dump_json())
    assert write_report(run_dir, full_summary).read_bytes() == write_report(run_dir, again).read_bytes()


def test_nothing_is_fetched(run_dir: Path, full_summary: Summary) -> None:
    """Everything that a browser would load is a data: URI or an anchor in the page, and there is no script."""
    text = write_report(run_dir, full_summary).read_text()
    loaded = [first or second for first, second in LOADS.findall(text)]
    assert len(loaded) > 10
    assert [one for one in loaded if not one.startswith(("#", "data:image/png;base64,"))] == []
    assert "<script" not in text
    assert "@import" not in text
    assert "https://nihcc.app.box.com" in text  # attribution, as plain text


def test_hostile_names_are_escaped(run_dir: Path, full_summary: Summary) -> None:
    """Names of sites, classes, studies and reasons are text, also inside SVG attributes."""
    evil = '"><img src=http://evil.test/x onerror=alert(1)><script>&'
    study = full_summary.study.model_copy(
        update={"name": evil, "notes": (evil,), "attribution": evil, "classes": (evil, "b")}
    )
    rounds = tuple(
        one.model_copy(update={"answered": (evil,), "missing": {evil + "2": evil}, "epsilon": {evil: 1.0}})
        for one in full_summary.rounds
    )
    audit = full_summary.audit
    assert audit is not None
    image = audit.images[1].model_copy(update={"site": evil, "true_class": evil, "predicted_class": evil})
    statement = full_summary.statements["nih_cc_ap"]
    hostile = full_summary.model_copy(
        update={
            "study": study,
            "rounds": rounds,
            "reasons": (evil,),
            "events": (Event(round=1, site=evil, code=evil, what=evil),),
            "statements": {evil: statement.model_copy(update={"trust_model": evil})},
            "by_site_of_origin": {evil: full_summary.metrics.federated_private},
            "audit": audit.model_copy(update={"images": (image,)}),
            "versions": {evil: evil},
        }
    )
    text = write_report(run_dir, hostile).read_text()
    assert "<script" not in text
    assert "<img src=http" not in text
    assert text.count("&lt;script&gt;") > 20


def test_pictures_outside_the_run_folder_are_not_read(run_dir: Path, full_summary: Summary) -> None:
    """A picture's name that leaves the run folder is ignored."""
    (run_dir.parent / "secret.png").write_bytes(b"secret")
    audit = full_summary.audit
    assert audit is not None
    image = audit.images[0].model_copy(update={"picture": "../secret.png"})
    changed = audit.model_copy(update={"images": (image,)})
    text = render_report(run_dir, full_summary.model_copy(update={"audit": changed}))
    assert 'class="example"' not in text


def test_every_figure_has_title_description_and_name(run_dir: Path, full_summary: Summary) -> None:
    """Each SVG carries role, label, title and description; each chart has its table beside it."""
    text = write_report(run_dir, full_summary).read_text()
    figures = re.findall(r'<svg class="fig.*?</svg>', text, re.DOTALL)
    assert len(figures) > 10
    assert all('role="img" ' in one and "<title>" in one and "<desc>" in one for one in figures)
    charts = re.findall(r'<figure class="chart">.*?</figure>', text, re.DOTALL)
    assert all("<details>" in chart and "<td>" in chart for chart in charts)


def test_status_is_never_colour_alone(run_dir: Path, full_summary: Summary) -> None:
    """Every outcome of a check is a shape and a word, and no two have the same shape."""
    text = write_report(run_dir, full_summary).read_text()
    cells = re.findall(r'<td data-label="state">(.*?)</td>', text, re.DOTALL)
    found = {
        re.sub(r"<.*?>", "", cell, flags=re.DOTALL).strip(): re.findall("<svg.*?</svg>", cell, re.DOTALL)
        for cell in cells
    }
    assert set(found) == {"passed", "failed", "does not apply"}
    assert len(set(map(str, found.values()))) == 3


@pytest.mark.parametrize("change", [{"privacy": Privacy(enabled=False)}, {"epsilon": {"a": None}}])
def test_without_privacy_the_claim_is_gone(
    run_dir: Path, full_summary: Summary, change: dict[str, object]
) -> None:
    """A run without privacy says so in the verdict and the privacy section, and makes no claim."""
    text = render_report(run_dir, full_summary.model_copy(update=change))
    assert "No privacy guarantee holds" in text
    assert "differential privacy for adding or removing" not in text


def test_the_trivial_model_stands_beside_the_student_for_each_site(full_summary, run_dir: Path) -> None:
    """What brightness alone reaches on each site's images is shown where the student's figures are."""
    page = render_report(run_dir, full_summary)
    assert "AUC of brightness alone" in page
    for auc in full_summary.trivial_by_site_of_origin.values():
        assert f"{auc.value:.2f} ({auc.low:.2f} to {auc.high:.2f})" in page


def test_span_of_a_simulation_is_marked(run_dir: Path, full_summary: Summary) -> None:
    """A simulated site's spend is marked as that of this run alone."""
    assert "⚠ this run alone (simulation)" in render_report(run_dir, full_summary)


def test_many_rounds_stay_small(run_dir: Path, full_summary: Summary) -> None:
    """A thousand rounds and twenty sites give a page below 10 MB that names the rounds with missing sites."""
    names = tuple(f"site{k}" for k in range(20))
    first = full_summary.rounds[0]
    rounds = tuple(
        first.model_copy(
            update={
                "round": k + 1,
                "answered": names[1:] if k == 500 else names,
                "missing": {names[0]: "late"} if k == 500 else {},
                "epsilon": dict.fromkeys(names, k / 1000),
            }
        )
        for k in range(1000)
    )
    text = render_report(run_dir, full_summary.model_copy(update={"rounds": rounds}))
    assert len(text) < 10_000_000
    assert "</span> late" in text


def test_three_classes_render(run_dir: Path, full_summary: Summary) -> None:
    """Three classes print as a mean of one against the rest, with an absent class's reason."""
    metrics = evaluate([[0.5, 0.3, 0.2]] * 4, [0, 1, 0, 1], [0, 1, 2, 3], ("a", "b", "c"))
    study = StudyFacts(**(full_summary.study.model_dump() | {"classes": ("a", "b", "c")}))
    changed = {"study": study, "metrics": type(full_summary.metrics)(federated_private=metrics)}
    text = render_report(run_dir, full_summary.model_copy(update=changed))
    assert "mean of one class against the rest" in text
    assert "not measured: no test image of class c" in text


def test_difference_reads_as_what_its_interval_allows(run_dir: Path, full_summary: Summary) -> None:
    """A difference is called better only when its interval leaves zero out."""
    pair = Paired(
        a="federated_private", b="trivial", difference=Interval(value=0.02, low=-0.01, high=0.05, n=9)
    )
    text = render_report(run_dir, full_summary.model_copy(update={"paired": (pair,)}))
    assert "no difference shown" in text
    assert "first is better" not in text


def test_claim_without_a_ledger_is_called_an_aim(tmp_path: Path, minimal_summary: Summary) -> None:
    """Where no site sent a statement, the claim is not presented as a result."""
    text = render_report(tmp_path, minimal_summary)
    assert "aim, not as a result" in text
    assert "privacy not stated" in text


def test_a_site_without_a_statement_stands_in_the_label(run_dir: Path, full_summary: Summary) -> None:
    """A site that let no ledger statement out has its column, and claim and sums say that it stated nothing."""
    rest = {
        name: {site: value for site, value in getattr(full_summary, name).items() if site != "nih_cc_ap"}
        for name in ("statements", "epsilon", "delta")
    }
    silent = full_summary.model_copy(update=rest)
    label = privacy_label(silent)
    rows = dict(label.rows)
    assert set(rows["nih_cc_ap"]) == {"not stated"}
    assert {"epsilon spent", "ledger head"} <= set(label.differing)
    text = render_report(run_dir, silent)
    assert '<th scope="row">nih_cc_ap</th>' in text[text.index("Privacy label") :]
    assert "The most any site stated to have spent on one patient is epsilon 7.31" in text
    assert "not stated by nih_cc_ap." in text
    assert "For nih_cc_ap read the following as the design" in text


def test_a_statement_older_than_the_last_request_may_be_more(full_summary: Summary) -> None:
    """Asked in round 6 after its statement of round 5, a site's figure is that of round 5; the others' is the last."""
    label = privacy_label(full_summary)
    (spent,) = (field for field in label.fields if field.name == "epsilon spent")
    assert spent.by_site == ("7.31", "7.94", "5.9 as of round 5, may be more")


def test_an_unanswered_evaluation_makes_a_statement_old(full_summary: Summary) -> None:
    """A site that answered the last round but not the evaluation after it may have spent more."""
    late = Event(round=8, site="nih_cc_ap", code="deadline", what="no answer by the deadline")
    assert report_spend.stale_since(full_summary, "nih_cc_ap") is None
    assert report_spend.stale_since(full_summary.model_copy(update={"events": (late,)}), "nih_cc_ap") == 8


def test_without_privacy_the_main_model_has_its_figures(run_dir: Path, full_summary: Summary) -> None:
    """With privacy off the student without privacy is the main one: AUC, calibration and its diagram are shown."""
    metrics = full_summary.metrics.model_copy(update={"federated_private": None})
    open_run = full_summary.model_copy(
        update={
            "privacy": Privacy(enabled=False),
            "metrics": metrics,
            "test_auc": auc_of(metrics),
        }
    )
    text = render_report(run_dir, open_run)
    assert open_run.main == full_summary.metrics.federated
    assert full_summary.main == full_summary.metrics.federated_private
    assert "test patients the student reaches an AUC of" in text
    assert "Calibration of the student" in text
    assert '<tr class="main"><th scope="row">Federated, without privacy' in text


def test_the_report_says_how_the_maps_were_made(run_dir: Path, full_summary: Summary) -> None:
    """Method, layers and the teacher's share of channels stand above the lifts, and each lift has its n."""
    text = render_report(run_dir, full_summary)
    assert (
        "Score-CAM for the true class. The student&#39;s map comes from its layer stage4 (136 channels), the "
        "teacher&#39;s from its layer features.28 (64 of its 512 channels)."
    ) in text
    assert [row.num_images for row in report_audit.lift_rows(full_summary.audit)] == ["24"] * 5


def test_an_empty_map_of_the_teacher_is_said(run_dir: Path, full_summary: Summary) -> None:
    """Only the example in which the teacher's map is empty says that the teacher shows no evidence."""
    captions = [one.caption for one in report_audit.examples(full_summary.audit, run_dir)]
    assert ["teacher: no positive evidence" in caption for caption in captions] == [False, True, False]


def test_calibration_is_told_before_and_after_the_temperature(run_dir: Path, full_summary: Summary) -> None:
    """Figures and diagram of the raw probabilities say so, and a temperature that does harm is named."""
    text = render_report(run_dir, full_summary)
    assert "Before temperature: expected calibration error" in text
    assert (
        "After temperature 1.37, fitted on held-out patients of the public cohort: expected calibration error"
        in text
    )
    assert "Calibration of the student, before temperature" in text
    assert "makes the calibration error and the Brier score larger" in text
    assert full_summary.calibrated is not None
    good = full_summary.calibrated.model_copy(
        update={"ece": Interval(value=0.0), "brier": Interval(value=0.0)}
    )
    assert "the temperature makes" not in render_report(
        run_dir, full_summary.model_copy(update={"calibrated": good})
    )


def test_an_answer_that_was_not_taken_is_not_called_answered(run_dir: Path, full_summary: Summary) -> None:
    """The table of events names a refusal by what it is, whatever the records call it."""
    refused = Event(round=2, site="nih_cc_ap", code="answered", what="budget_spent")
    text = render_report(run_dir, full_summary.model_copy(update={"events": (refused,)}))
    assert "<td>nih_cc_ap</td><td>not accepted</td><td>budget_spent</td>" in text


def test_central_training_says_how_long_it_was(run_dir: Path, full_summary: Summary) -> None:
    """The row of central training names its epochs: it is no bound on what all images could teach."""
    text = render_report(run_dir, full_summary)
    assert f"Central: all images in one place, {CENTRAL_EPOCHS} epochs" in text


def test_the_curve_says_which_patients_it_is_on(run_dir: Path, full_summary: Summary) -> None:
    """The line is on a part of the test set and the levels on all of it: the figure says so where it is seen."""
    rounds = tuple(
        one.model_copy(update={"test_auc": Interval(value=0.8, low=0.7, high=0.9, n=20)})
        for one in full_summary.rounds
    )
    text = render_report(run_dir, full_summary.model_copy(update={"rounds": rounds}))
    seen = re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    assert (
        "follows the rounds (20 patients); dashed lines are teacher and warm start on all of it (48 patients)"
        in seen
    )


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.03, 0.42, ["0.0", "0.2", "0.4", "0.6"]),
        (0.907, 0.978, ["0.90", "0.92", "0.94", "0.96", "0.98"]),
        (0.11, 0.5, ["0.1", "0.2", "0.3", "0.4", "0.5"]),
        (0.7, 0.7, ["0.4", "0.6", "0.8", "1.0"]),
    ],
)
def test_ticks_are_round_numbers(low: float, high: float, ticks: list[str]) -> None:
    """Levels beside a figure are multiples of one round step, and rounds below it too."""
    line = Line("a", ((1.0, Interval(value=low)), (9.0, Interval(value=high))))
    svg = line_figure("t", "d", [line], x_name="round", y_name="y").svg
    found = re.findall(r'class="tick (\w+)"[^>]*>([^<]*)<', svg)
    assert [text for kind, text in found if kind == "end"] == ticks
    assert [text for kind, text in found if kind == "middle"] == ["2", "4", "6", "8"]
