"""What a mistake in a study's or a site's file is answered with: field, value, what is allowed, in one sentence.

In: pydantic's list of what it did not like. Out: the sentence on the mistake that explains the most, and how many more
there are. Pydantic's own words are for programmers, and where a field may be of two kinds it answers for each of them.
"""

from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from shared.config.site import HUB_ADDRESS, SITE_NAME
from shared.config.strict_yaml import Place
from shared.config.values import DIGEST, STUDY_NAME

MAX_SHOWN = 200  # characters of a value
_ALLOWED = {
    "missing": "is missing; fill it in",
    "int": "allowed is a whole number",
    "float": "allowed is a number",
    "bool": "allowed is true or false",
    "string": "allowed is text; put it into quotes",
    "date": "allowed is a date such as 2027-12-31",
    "path": "allowed is a path",
    "model": "allowed is a group of fields; see docs/data.md",
    "dict": "allowed is a mapping; see docs/data.md",
    "tuple": "allowed is a list, [a, b]",
}
# A misspelt field leaves another missing, so it is told first; of a field that may be a word or something else, the
# something else is told before the word, and the word before "this is no group of fields".
_RANK = {"extra_forbidden": 0, "literal_error": 2, "model_type": 3}
_PATTERNS = {
    DIGEST: "allowed are 64 digits of 0-9 and a-f: the SHA-256 of a file or a study",
    STUDY_NAME: "allowed are 1 to 40 small letters, digits and -, the first no -",
    SITE_NAME: "allowed are 1 to 40 letters (a to z), digits, - and _, the first a letter or a digit",
    HUB_ADDRESS: "allowed is HOST:PORT such as hub.example.org:8443",
}


def mistake(
    kind: type[BaseModel],
    error: ValidationError,
    origin: str,
    places: Mapping[tuple[str, ...], Place] | None = None,
) -> str:
    """Return the sentence on a validation error of a model; `origin` names the file, `places` know its lines."""
    found = error.errors(include_url=False)
    first = min(found, key=lambda one: _RANK.get(one["type"], 1))
    path, group = _place(kind, [str(part) for part in first["loc"]])
    value = first.get("input")
    shown = "" if isinstance(value, Mapping) or first["type"] == "missing" else f" is {_shown(value)}:"
    line, written = _written(path, value, places or {})
    others = len({one["loc"] for one in found}) - 1
    more = f" ({others} more to correct after it)" if others else ""
    colon = "" if shown or first["type"] == "missing" else ":"
    if written:
        shown = f" is written {written}, which YAML reads as {_shown(value)}:"
    return (
        f"{origin}: {line}{'.'.join(path) or 'the whole file'}{colon}{shown} {_why(first, path, group)}{more}"
    )


def _written(path: list[str], value: Any, places: Mapping[tuple[str, ...], Place]) -> tuple[str, str]:
    """Return where a value stands, and how it is written where YAML reads it as something else."""
    place = places.get(tuple(path)) or places.get(tuple(path[:-1]))
    if place is None or not path:
        return "", ""
    differs = tuple(path) in places and place.written not in {"", str(value)}
    return f"line {place.line}: ", place.written[:MAX_SHOWN] if differs else ""


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, date) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _why(one: Mapping[str, Any], path: list[str], group: type[BaseModel] | None) -> str:
    kind = str(one["type"])
    if kind == "extra_forbidden":
        return _no_such_field(path, group)
    if kind == "value_error":
        return str(one["msg"]).removeprefix("Value error, ")
    if kind == "string_pattern_mismatch" and one["ctx"]["pattern"] in _PATTERNS:
        return _PATTERNS[one["ctx"]["pattern"]]
    if kind == "missing" or kind.endswith(("_type", "_parsing", "_from_float", "_from_datetime_parsing")):
        said = _ALLOWED.get(kind.split("_", maxsplit=1)[0])
        if said is not None:
            return said
    return str(one["msg"]).replace("Input should", "it should", 1)


def _no_such_field(path: list[str], group: type[BaseModel] | None) -> str:
    """Say of a field that does not exist what its neighbours are called, the likeliest first."""
    if group is None:
        return "there is no such field; leave it out or correct its name"
    close = get_close_matches(path[-1], group.model_fields, n=1)
    meant = f"did you mean {'.'.join([*path[:-1], *close])}? " if close else ""
    return f"there is no such field; {meant}allowed are {', '.join(sorted(group.model_fields))}"


def _place(kind: type[BaseModel], loc: list[str]) -> tuple[list[str], type[BaseModel] | None]:
    """Return the names that a person wrote, without the kinds that pydantic tried, and the group of the last one."""
    path: list[str] = []
    group: type[BaseModel] | None = kind
    for number, part in enumerate(loc):
        if group is not None and part == group.__name__ and part not in group.model_fields:
            continue
        if _is_a_kind(part):
            continue
        path.append(part)
        last = all(_is_a_kind(one) for one in loc[number + 1 :])
        field = None if group is None else group.model_fields.get(part)
        if not last:
            group = _inside(field.annotation) if field else None
    return path, group


def _is_a_kind(part: str) -> bool:
    return part == "[key]" or part.startswith(("literal[", "constrained-", "tuple[", "function-"))


def _inside(annotation: Any) -> type[BaseModel] | None:
    """Return the one group of fields that an annotation allows."""
    models = [
        one
        for one in (annotation, *get_args(annotation))
        if isinstance(one, type) and issubclass(one, BaseModel)
    ]
    return models[0] if len(models) == 1 else None
