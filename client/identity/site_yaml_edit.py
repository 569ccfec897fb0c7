"""Changing site.yaml for a person: one field at a time, every comment kept, checked before a byte is written.

In: the file as a person typed it. Out: its new text. It never leaves.
"""

from collections.abc import Iterable
from pathlib import Path

from ruamel.yaml.comments import CommentedMap

from client.identity.site_yaml import editable, text_of
from shared.config.files import parse_site, read_site, whole_paths
from shared.config.strict_yaml import parse_settings
from shared.errors import ConfigError


def accepting(site_file: Path, digests: Iterable[str]) -> str:
    """Return the text with weights listed as public in `accepted_digests`; one that is listed stays as it is.

    `ConfigError` where the new text would say anything else that is new.
    """
    before = read_site(site_file)
    added = {one: "public" for one in digests if one not in before.accepted_digests}

    text = site_file.read_text(encoding="utf-8-sig")
    if added:
        raw = editable(site_file)
        listed = raw.get("accepted_digests")
        if not listed:
            raw["accepted_digests"] = CommentedMap(added)  # one a line
        else:
            listed.update(added)
        text = text_of(raw)
    after = parse_site(whole_paths(parse_settings(text, site_file), site_file), site_file.name)
    meant = before.model_copy(update={"accepted_digests": before.accepted_digests | added})
    if after != meant:
        raise ConfigError(
            f"{site_file.name}: weights cannot be added to accepted_digests without changing more; add them there by "
            f"hand: {', '.join(added)}"
        )
    return text
