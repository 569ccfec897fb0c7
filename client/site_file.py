"""Changing site.yaml for a person: one field at a time, every comment kept, checked before a byte is written.

In: the file as a person typed it. Out: its new text. It never leaves.
"""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import YAMLError

from shared.config_files import parse_site, read_site, read_yaml
from shared.errors import ConfigError
from shared.strict_yaml import parse_settings

Raw = dict[str, Any]


def changed_text(site_file: Path, change: Callable[[Raw], None]) -> str:
    """Return the file's text after a change of its fields; all else in it stays as it was typed."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    read_yaml(site_file)  # what may mean two things is refused here, before a line is changed
    try:
        raw: Raw = yaml.load(site_file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ConfigError(
            f"{site_file}: cannot be read as YAML; make it with `rounds-site init` or correct it"
        ) from error
    change(raw)
    text = io.StringIO()
    yaml.dump(raw, text)
    return text.getvalue()


def accepting(site_file: Path, digests: Iterable[str]) -> str:
    """Return the text with weights listed as public in `accepted_digests`; one that is listed stays as it is.

    `ConfigError` where the new text would say anything else that is new.
    """
    before = read_site(site_file)
    added = {one: "public" for one in digests if one not in before.accepted_digests}

    def add(raw: Raw) -> None:
        listed = raw.get("accepted_digests")
        if not listed:
            raw["accepted_digests"] = CommentedMap(added)  # one a line
        else:
            listed.update(added)

    text = changed_text(site_file, add) if added else site_file.read_text(encoding="utf-8-sig")
    after = parse_site(parse_settings(text, site_file), site_file.name)
    meant = before.model_copy(update={"accepted_digests": before.accepted_digests | added})
    if after != meant:
        raise ConfigError(
            f"{site_file.name}: weights cannot be added to accepted_digests without changing more; add them there by "
            f"hand: {', '.join(added)}"
        )
    return text
