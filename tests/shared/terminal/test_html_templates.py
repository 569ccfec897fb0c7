"""Rules of every page that is made from a template."""

from pathlib import Path

import pytest
from jinja2 import UndefinedError

from shared.terminal.html_templates import rendered


def template(folder: Path, text: str) -> Path:
    """Write a template and one beside it."""
    (folder / "beside.html").write_text("<b>{{ name }}</b>\n", encoding="utf-8")
    path = folder / "page.html"
    path.write_text(text, encoding="utf-8")
    return path


def test_what_is_shown_is_escaped(tmp_path: Path) -> None:
    """Marks in a value, also where a filter made it or another template shows it, are text on the page."""
    path = template(tmp_path, "{{ name | twice }}\n{% include 'beside.html' %}")
    page = rendered(path, {"name": "<i>"}, twice=lambda text: 2 * text)
    assert page == "&lt;i&gt;&lt;i&gt;\n<b>&lt;i&gt;</b>\n"


def test_a_name_that_nobody_gave_is_an_error(tmp_path: Path) -> None:
    """A page never has a gap where a value is missing."""
    with pytest.raises(UndefinedError, match="name"):
        rendered(template(tmp_path, "<p>{{ name }}</p>"), {})


def test_lines_of_logic_leave_no_trace(tmp_path: Path) -> None:
    """A block that stands on a line of its own adds neither that line nor its indentation."""
    path = template(tmp_path, "<ul>\n  {% for one in names %}\n  <li>{{ one }}\n  {% endfor %}\n</ul>")
    assert rendered(path, {"names": "ab"}) == "<ul>\n  <li>a\n  <li>b\n</ul>\n"
