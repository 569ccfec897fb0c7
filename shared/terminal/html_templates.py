"""Pages made from templates: the hub's report and the hospital's preview follow the same rules.

In: a template, and values of which some came from outside. Out: the text of the page, in which every value is
escaped that is not `Markup` of our own.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def rendered(
    template: Path, values: Mapping[str, Any], *, beside: Path | None = None, **filters: Callable[..., str]
) -> str:
    """Return the page; a name that nobody gave is an error.

    It may include templates of its own folder, and of the folder `beside`.
    """
    environment = Environment(
        loader=FileSystemLoader([template.parent, *([beside] if beside else [])]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(template.name).render(values) + "\n"
