"""Reading configuration: YAML files, overrides by dotted name, and a person's mistakes in one sentence each."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from shared.config import StudyConfig
from shared.config_mistakes import mistake
from shared.errors import ConfigError
from shared.site_config import SiteConfig

T = TypeVar("T", bound=BaseModel)


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
    return result


def parse_study(raw: Mapping[str, Any], origin: str = "study") -> StudyConfig:
    """Validate a raw study; a mistake becomes one `ConfigError` naming field, value and what is allowed."""
    return _parsed(StudyConfig, raw, origin)


def parse_site(raw: Mapping[str, Any], origin: str = "site") -> SiteConfig:
    """Validate a raw site; a mistake becomes one `ConfigError` naming field, value and what is allowed."""
    return _parsed(SiteConfig, raw, origin)


def read_study(path: Path) -> StudyConfig:
    """Read and validate a study's file; `ConfigError` names the file."""
    return parse_study(read_yaml(path), path.name)


def read_site(path: Path) -> SiteConfig:
    """Read and validate a site's file; `ConfigError` names the file."""
    return parse_site(read_yaml(path), path.name)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: cannot be read as YAML; check that it exists and is valid") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: holds {type(raw).__name__}, allowed is a mapping of fields; see deploy/")
    return raw


def write_yaml(path: Path, value: BaseModel) -> None:
    """Write a configuration so that `read_yaml` and its parser give it back."""
    path.write_text(yaml_text(value), encoding="utf-8")


def yaml_text(value: BaseModel) -> str:
    """Return a configuration as YAML."""
    return yaml.safe_dump(value.model_dump(mode="json"), sort_keys=False)


def _parsed(kind: type[T], raw: Mapping[str, Any], origin: str) -> T:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(mistake(kind, error, origin)) from error
