"""Pages from templates: every value is escaped, a name that nobody gave is an error.

In: a template's name and its values. Out: the text of a page, or of one block of it for htmx to put in place.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from server.dashboard.statics import static_url
from server.dashboard.status import status
from server.figures import interval_text
from server.privacy_words import NOT_FOR_DIAGNOSIS
from server.words import event_word, in_bytes, in_seconds, shown

FOLDER: Final = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """Return the templates of this folder with the words that all pages share."""
    made = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"static": static_url, "status_of": status, "NOT_FOR_DIAGNOSIS": NOT_FOR_DIAGNOSIS}
    made.filters |= {
        "shown": shown, "interval": interval_text, "in_bytes": in_bytes, "in_seconds": in_seconds,
        "event_word": event_word, "sentence": sentence, "moment": moment, "day": day, "machine_time": machine_time,
    }  # fmt: skip
    return made


def rendered(template: str, values: Mapping[str, Any], block: str | None = None) -> str:
    """Return the page, or one block of it."""
    found = environment().get_template(template)
    if block is None or block not in found.blocks:
        return found.render(values)
    return Markup("").join(found.blocks[block](found.new_context(dict(values))))


def sentence(said: str) -> str:
    """Write a bare code, such as `budget_spent`, as words; anything else stays as it is."""
    return said.replace("_", " ") if said.replace("_", "").isalpha() and said.islower() else said


def moment(when: datetime | None) -> str:
    """Write a time with its zone: '26 Nov 2026, 22:04:10 UTC'."""
    return "never" if when is None else f"{when.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def day(when: datetime | None) -> str:
    """Write a time to the minute: '26 Nov 2026, 22:04 UTC'."""
    return "never" if when is None else f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC"


def machine_time(when: datetime) -> str:
    """Write a time for `<time datetime>`."""
    return when.astimezone(UTC).isoformat(timespec="seconds")
