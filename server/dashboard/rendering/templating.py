"""Pages from templates: every value is escaped, a name that nobody gave is an error.

In: a template's name and its values. Out: the text of a page, or of one block of it for htmx to put in place.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from server.dashboard.rendering.static_files import static_url
from server.presentation import SECTIONS
from server.presentation.formatting import event_word, in_bytes, in_seconds, shown
from server.presentation.privacy_statements import NOT_FOR_DIAGNOSIS
from server.presentation.status_words import status
from server.presentation.svg_charts import interval_text

FOLDER: Final = Path(__file__).parents[1] / "templates"
NOBODY: Final = {
    "visit": None,
    "study": None,
    "here": "",
    "fresh": False,
    "version": "",
    "stream": "",
}  # for a page without login


@cache
def environment() -> Environment:
    """Return the templates of this folder with the words that all pages share."""
    made = Environment(
        loader=FileSystemLoader([FOLDER, SECTIONS]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"static": static_url, "status_of": status, "NOT_FOR_DIAGNOSIS": NOT_FOR_DIAGNOSIS}
    made.filters |= {
        "shown": shown, "interval": interval_text, "in_bytes": in_bytes, "in_seconds": in_seconds,
        "event_word": event_word, "sentence": sentence, "age": age, "moment": moment, "day": day,
        "machine_time": machine_time, "commands": commands,
    }  # fmt: skip
    shared, own = (vars(made.get_template(name).module) for name in ("sections.html", "macros.html"))
    made.globals["m"] = SimpleNamespace(**(shared | own))  # also for a block that is asked for alone
    return made


def rendered(template: str, values: Mapping[str, Any], block: str | None = None) -> str:
    """Return the page, or one block of it."""
    found = environment().get_template(template)
    if block is None or not has_block(template, block):
        return found.render(values)
    return "".join(found.blocks[block](found.new_context(dict(values))))


def has_block(template: str, block: str | None) -> bool:
    """Tell whether a template has a block of this name."""
    return block in environment().get_template(template).blocks


def sentence(said: str) -> str:
    """Write a bare code, such as `budget_spent`, as words; anything else stays as it is."""
    return said.replace("_", " ") if said.replace("_", "").isalpha() and said.islower() else said


def commands(said: str) -> Markup:
    """Set what stands between backticks as code; everything is escaped."""
    parts = said.split("`")
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(parts)
    )


def age(seconds: float) -> str:
    """Write how long ago something was: '12 s', '4 min', '3 h', '9 days'."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds // 86400)} days"


def moment(when: datetime | None) -> str:
    """Write a time with its zone: '26 Nov 2026, 22:04:10 UTC'."""
    return "never" if when is None else f"{when.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def day(when: datetime | None) -> str:
    """Write a time to the minute: '26 Nov 2026, 22:04 UTC'."""
    return "never" if when is None else f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def machine_time(when: datetime) -> str:
    """Write a time for `<time datetime>`."""
    return when.astimezone(UTC).isoformat(timespec="seconds")
