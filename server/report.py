"""The report of one run: a single HTML file that needs no script, no network and no server.

In: a `Summary` and the run's folder with its pictures of public reference images. Out: report.html, with
the same bytes whenever it is made from the same summary.
"""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from server.figures import interval_text
from server.report_view import page
from server.report_words import in_seconds, shown
from server.results import Summary

TEMPLATES = Path(__file__).parent / "templates"


def write_report(run_dir: Path, summary: Summary) -> Path:
    """Write report.html into the run's folder and return its path."""
    path = run_dir / "report.html"
    path.write_text(render_report(run_dir, summary), encoding="utf-8")
    return path


def render_report(run_dir: Path, summary: Summary) -> str:
    """Return the page; everything that came from outside is escaped."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"interval": interval_text, "shown": shown, "in_seconds": in_seconds}
    return environment.get_template("report.html").render(page(summary, run_dir)) + "\n"
