"""Reading configuration: YAML files, overrides by dotted name, and a person's mistakes in one sentence each."""

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from shared.config import StudyConfig
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
    path.write_text(yaml.safe_dump(value.model_dump(mode="json"), sort_keys=False), encoding="utf-8")


def _parsed(kind: type[T], raw: Mapping[str, Any], origin: str) -> T:
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        loc = [str(part) for part in first["loc"]]
        value = first.get("input")
        shown = "" if isinstance(value, Mapping) else f" is {value!r}"
        more = error.error_count() - 1
        others = f" ({more} more to correct after it)" if more else ""
        why = _no_such_field(kind, loc) if first["type"] == "extra_forbidden" else first["msg"]
        raise ConfigError(f"{origin}: {'.'.join(loc) or 'the whole file'}{shown}: {why}{others}") from error


def _no_such_field(kind: type[BaseModel], loc: list[str]) -> str:
    """Say of a field that does not exist what its neighbours are called, the likeliest first."""
    group = kind
    for part in loc[:-1]:
        field = group.model_fields.get(part)
        inside = (field.annotation, *get_args(field.annotation)) if field else ()
        models = [one for one in inside if isinstance(one, type) and issubclass(one, BaseModel)]
        if len(models) != 1:
            return "there is no such field; leave it out or correct its name"
        group = models[0]
    close = get_close_matches(loc[-1], group.model_fields, n=1)
    meant = f"did you mean {'.'.join([*loc[:-1], *close])}? " if close else ""
    return f"there is no such field; {meant}allowed are {', '.join(sorted(group.model_fields))}"
