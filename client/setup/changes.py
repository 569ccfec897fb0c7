"""What setup writes into `site.yaml`: a person's file and answers come in; the file with those fields changed goes out.

Comments, order and everything else stay. Nothing is written before the whole of it was checked, and then at once.
"""

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from client.identity.site_yaml import editable, text_of, yaml_number
from shared.config.files import parse_site, whole_paths
from shared.config.site_data import SiteData
from shared.config.strict_yaml import parse_settings
from shared.errors import ConfigError
from shared.trust.private_files import write_file

_OWN_FIELDS = ("columns", "patient_pattern", "dicom", "site", "label_map")  # of data, which setup answers for
_REMARKS = {
    "site": "only rows of this site",
    "columns": "our column: what the table calls it",
    "patient_pattern": "what tells patients apart in a picture's path",
    "dicom": "where DICOM files get their labels from",
    "label_map": "label in the data: class of the study, or nothing to leave it out",
}


class SiteFile:
    """One hospital's `site.yaml` while it is filled in: read once, and written if nobody else has changed it since."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise ConfigError(f"{path}: there is no such file; make the site with `rounds-site init` first")
        self.path = path
        self._before = path.read_bytes()
        self._raw = editable(path)
        self._settings = parse_settings(self._before.decode("utf-8-sig"), path)

    @property
    def values(self) -> Mapping[str, Any]:
        """Return what the file says now; relative paths are whole."""
        return whole_paths(self._settings, self.path)

    def fill_in(self, data: SiteData, declared: int, epsilon: float, delta: float) -> None:
        """Change the fields that setup asks for, and no other."""
        found = self._raw.get("data")
        block = found if isinstance(found, CommentedMap) else CommentedMap()
        self._raw["data"] = block
        block["source"] = _plain(str(data.source))
        said = data.model_dump(mode="json", exclude_defaults=True)
        for name in _OWN_FIELDS:
            if name not in said:
                block.pop(name, None)
            elif name not in block or block[name] != said[name]:
                block[name] = _quoted(said[name])
                if _REMARKS[name] not in text_of(block):
                    block.yaml_add_eol_comment(_REMARKS[name], name)
        self._raw["declared_patients"] = declared
        cap = self._raw.get("cap")
        self._raw["cap"] = cap = cap if isinstance(cap, CommentedMap) else CommentedMap()
        for name, value in (("epsilon", epsilon), ("delta", delta)):
            if name not in cap or float(cap[name]) != value:
                cap[name] = yaml_number(value)

    def changes(self) -> list[str]:
        """Return the lines that go (-) and that come (+)."""
        before = self._before.decode("utf-8-sig").splitlines()
        lines = difflib.unified_diff(before, text_of(self._raw).splitlines(), n=0, lineterm="")
        return [line for line in lines if line[:1] in "+-" and line[:3] not in {"+++", "---"}]

    def check(self) -> None:
        """Refuse a file that no command could read afterwards; `ConfigError` with the field."""
        text = text_of(self._raw)
        parse_site(whole_paths(parse_settings(text, self.path), self.path), self.path.name)

    def write(self) -> None:
        """Put the file in place, whole; `ConfigError` where it was changed by somebody else in the meantime."""
        self.check()
        if self.path.read_bytes() != self._before:
            raise ConfigError(
                f"{self.path.name} was changed while questions were asked, and nothing was written; run setup again"
            )
        write_file(self.path, text_of(self._raw).encode(), replace=True)


def _quoted(value: Any) -> Any:
    """Return a value in which every text is in quotes: a label such as no or 0 is text, whichever YAML reads it."""
    if isinstance(value, Mapping):
        block = CommentedMap(
            (_quoted(key) if not key.isidentifier() or _is_word(key) else key, _quoted(one))
            for key, one in value.items()
        )
        if not any(isinstance(one, Mapping) for one in value.values()):
            block.fa.set_flow_style()
        return block
    if isinstance(value, list | tuple):
        return [_quoted(one) for one in value]
    return DoubleQuotedScalarString(value) if isinstance(value, str) else value


def _is_word(key: str) -> bool:
    """Say whether YAML 1.1 may read a key as true, false or nothing."""
    return key.casefold() in {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def _plain(path: str) -> str:
    return path if re.fullmatch(r"[\w./+@=-]+", path) else DoubleQuotedScalarString(path)
