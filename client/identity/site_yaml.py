"""A hospital's `site.yaml` as text that a program fills in: comments, order and spelling of the rest stay.

In: the file, and fields with their values. Out: the text with those fields changed, which the caller writes.
"""

import io
from decimal import Decimal
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from shared.config.files import read_yaml
from shared.errors import ConfigError


def editable(site_file: Path) -> dict[str, Any]:
    """Read a site's file with its comments; `ConfigError` where it may mean two things or is no YAML."""
    read_yaml(site_file)  # what may mean two things is refused here, before a line is changed
    try:
        raw: dict[str, Any] = _yaml().load(site_file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(
            f"{site_file}: cannot be read as YAML; make it with `rounds-site init` or correct it"
        ) from error
    return raw


def text_of(raw: dict[str, Any]) -> str:
    """Return what `editable` gave, and a program changed, as text."""
    text = io.StringIO()
    _yaml().dump(raw, text)
    return text.getvalue()


def yaml_number(value: float) -> Any:
    """Return a number that is written with decimal digits: 1e-05 is text to some readers of YAML."""
    return _yaml().load(f"{Decimal(repr(value)):f}")


def _yaml() -> YAML:
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return yaml
