"""Reading configuration: YAML files, overrides by dotted name, and a person's mistakes in one sentence each."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from shared.config.error_messages import mistake
from shared.config.site import SiteConfig
from shared.config.strict_yaml import Settings, read_settings
from shared.config.study import StudyConfig
from shared.errors import ConfigError

T = TypeVar("T", bound=BaseModel)
# What site.yaml names on this machine. Tables of data.dicom start at the source instead, as their fields say.
_SITE_PATHS = (
    ("data", "source"),
    ("weights_dir",),
    ("state_dir",),
    ("head_file",),
    ("keys_dir",),
    ("hub", "ca_file"),
)


def overridden(study: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a raw study with fields set by dotted name; an empty value leaves the field alone."""
    result: dict[str, Any] = json.loads(json.dumps(study, default=str))
    for dotted, value in overrides.items():
        if value == "":
            continue
        *parents, leaf = dotted.split(".")
        node = result
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{dotted}: {parent} is not a group of fields; use a field's full name")
        node[leaf] = value
    kept = study.places if isinstance(study, Settings) else {}
    given = {tuple(dotted.split(".")) for dotted, value in overrides.items() if value != ""}
    return Settings(
        result,
        {path: place for path, place in kept.items() if not any(path[: len(one)] == one for one in given)},
    )


def parsed_as(kind: type[T], raw: Mapping[str, Any], origin: str) -> T:
    """Validate any settings of ours; a mistake becomes one `ConfigError`, with its line where `raw` knows it."""
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        places = raw.places if isinstance(raw, Settings) else {}
        raise ConfigError(mistake(kind, error, origin, places)) from error


def parse_study(raw: Mapping[str, Any], origin: str = "study") -> StudyConfig:
    """Validate a raw study; a mistake becomes one `ConfigError` naming field, value and what is allowed."""
    return parsed_as(StudyConfig, raw, origin)


def parse_site(raw: Mapping[str, Any], origin: str = "site") -> SiteConfig:
    """Validate a raw site; a mistake becomes one `ConfigError` naming field, value and what is allowed."""
    return parsed_as(SiteConfig, raw, origin)


def read_study(path: Path) -> StudyConfig:
    """Read and validate a study's file; `ConfigError` names the file."""
    return parse_study(read_yaml(path), path.name)


def read_site(path: Path) -> SiteConfig:
    """Read and validate a site's file, whose relative paths start at its own folder; `ConfigError` names the file."""
    return parse_site(read_site_yaml(path), path.name)


def read_site_yaml(path: Path) -> Settings:
    """Read a site's file as it stands, its relative paths made whole: they start at the file's own folder."""
    return whole_paths(read_yaml(path), path)


def whole_paths(raw: Settings, path: Path) -> Settings:
    """Return a site's settings with the paths that start at the folder of their file made whole."""
    result = Settings(
        {name: dict(one) if isinstance(one, dict) else one for name, one in raw.items()}, raw.places
    )
    for *groups, field in _SITE_PATHS:
        holder: Any = result
        for group in groups:
            holder = holder.get(group) if isinstance(holder, dict) else None
        if isinstance(holder, dict) and isinstance(holder.get(field), str) and holder[field]:
            holder[field] = str(path.absolute().parent / holder[field])
    return result


def read_yaml(path: Path) -> Settings:
    """Read a YAML file whose top level is a mapping; what may mean two things is a `ConfigError` with its line."""
    return read_settings(path)


def write_yaml(path: Path, value: BaseModel) -> None:
    """Write a configuration so that `read_yaml` and its parser give it back."""
    path.write_text(yaml_text(value), encoding="utf-8")


def yaml_text(value: BaseModel) -> str:
    """Return a configuration as YAML."""
    return yaml.safe_dump(value.model_dump(mode="json"), sort_keys=False)
