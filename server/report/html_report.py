"""The report of one run: a single HTML file that needs no script, no network and no server.

In: a `Summary` and the run's folder with its pictures of public reference images. Out: report.html, with
the same bytes whenever it is made from the same summary.
"""

from pathlib import Path

from server.presentation import SECTIONS
from server.presentation.formatting import in_seconds, shown
from server.presentation.svg_charts import interval_text
from server.report.sections import page
from server.runs.summary import Summary
from shared.terminal.html_templates import rendered

TEMPLATE = Path(__file__).parent / "templates" / "report.html"


def write_report(run_dir: Path, summary: Summary) -> Path:
    """Write report.html into the run's folder and return its path."""
    path = run_dir / "report.html"
    path.write_text(render_report(run_dir, summary), encoding="utf-8")
    return path


def render_report(run_dir: Path, summary: Summary) -> str:
    """Return the page; everything that came from outside is escaped."""
    return rendered(
        TEMPLATE,
        page(summary, run_dir),
        beside=SECTIONS,
        interval=interval_text,
        shown=shown,
        in_seconds=in_seconds,
    )
