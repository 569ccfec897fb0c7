"""A file of settings as text: bytes come in, a mapping in which every value has one meaning goes out.

YAML gives more meanings to a line than a person sees: the last of two equal keys counts, 012 is ten, 1:30 is ninety,
and a reference may stand for a thousand lines. Here a file holds text, decimal numbers, true and false, dates, lists
and mappings, each written out once where it belongs; the rest is refused with the field, the line and what to write.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from shared.errors import ConfigError

MAX_BYTES, MAX_DEPTH = 1 << 18, 24  # of a file; of mappings and lists in each other
_BOMS = {
    b"\xff\xfe\0\0": "UTF-32",
    b"\0\0\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}
_TAG = "tag:yaml.org,2002:"
_NUMBERS = {  # how a number may be written; YAML 1.1 also takes octal, hexadecimal, base 60 and 1_000
    "int": re.compile(r"[-+]?(0|[1-9][0-9]*)"),
    "float": re.compile(r"[-+]?(0|[1-9][0-9]*)?\.?[0-9]*([eE][-+]?[0-9]+)?"),
}


@dataclass(frozen=True)
class Place:
    """Where a value stands in its file, and how it is written there; "" for a list or a mapping."""

    line: int
    written: str = ""


class Settings(dict[str, Any]):
    """A mapping of settings that knows where each value stands, by the names that lead to it."""

    def __init__(self, values: Mapping[str, Any], places: Mapping[tuple[str, ...], Place]) -> None:
        super().__init__(values)
        self.places = places


yaml.SafeDumper.add_representer(Settings, yaml.SafeDumper.represent_dict)  # written as any other mapping


def read_settings(path: Path) -> Settings:
    """Read a YAML file whose top level is a mapping; `ConfigError` says what is wrong with it, and on which line."""
    return parse_settings(_text(path), path)


def parse_settings(text: str, origin: Path) -> Settings:
    """Parse settings; `origin` names them in errors."""
    try:
        reader = _Reader(text, origin)
        raw = reader.document()
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        found = text.splitlines()[line - 1 : line]
        if found and "\t" in found[0]:
            raise ConfigError(
                f"{origin}: cannot be read as YAML: line {line} holds a tab, needed are spaces; replace it"
            ) from error
        raise ConfigError(
            f"{origin}: cannot be read as YAML: line {line}, {error.problem or error.context}; correct it or put the "
            "text into quotes"
        ) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{origin}: cannot be read as YAML: line {line} holds the control character "
            f"U+{ord(text[error.position]):04X}; remove it"
        ) from error
    if not isinstance(raw, dict):
        kind = "nothing" if raw is None else "a list" if isinstance(raw, list) else "one value"
        raise ConfigError(f"{origin}: holds {kind}, allowed is a mapping of fields; see deploy/")
    return Settings(raw, reader.places)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"{path}: cannot be read: there is no such file; check the path") from None
    except (OSError, ValueError) as error:
        why = (
            "it is a folder" if path.is_dir() else getattr(error, "strerror", None) or "no file has this name"
        )
        raise ConfigError(f"{path}: cannot be read: {why}; check the path") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"{path}: cannot be read: allowed are {MAX_BYTES >> 10} KiB; is it a file of settings?"
        )
    coding = next((name for bom, name in _BOMS.items() if data.startswith(bom)), "")
    if not coding and b"\0" in data[:2]:
        coding = "UTF-16"
    if coding:
        raise ConfigError(f"{path}: cannot be read: it is {coding}, needed is UTF-8; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}: cannot be read: line {line} is not UTF-8 but perhaps Windows-1252; save it as UTF-8"
        ) from error
    if "\ufeff" in text:
        line = text.count("\n", 0, text.index("\ufeff")) + 1
        raise ConfigError(
            f"{path}: cannot be read: line {line} holds a byte order mark (U+FEFF) inside the text; remove it"
        )
    return text


class _Reader:
    """Builds the one document of a text from YAML's events, none of which refers to another."""

    def __init__(self, text: str, origin: Path) -> None:
        self.origin = origin
        self.places: dict[tuple[str, ...], Place] = {}
        self._yaml: Any = yaml.SafeLoader(text)  # whose events have no types

    def document(self) -> Any:
        self._yaml.get_event()  # of the stream
        value = None
        if not self._yaml.check_event(yaml.StreamEndEvent):
            self._yaml.get_event()  # of the document
            value = self._value(())
            self._yaml.get_event()
        if not self._yaml.check_event(yaml.StreamEndEvent):
            self._refuse(
                self._yaml.peek_event(), (), "begins a second document, allowed is one in a file; divide it"
            )
        return value

    def _value(self, path: tuple[str, ...]) -> Any:
        event = self._yaml.get_event()
        if isinstance(event, yaml.AliasEvent):
            self._refuse(event, path, f"is the reference *{event.anchor}; write out what it stands for")
        if event.anchor is not None:
            self._refuse(event, path, f"has the anchor &{event.anchor}; leave it out and write values out")
        if event.tag is not None:
            self._refuse(event, path, f"has the tag {event.tag}; leave it out")
        if len(path) > MAX_DEPTH:
            self._refuse(event, path[:3], f"is nested more than {MAX_DEPTH} deep; correct it")
        self.places[path] = Place(event.start_mark.line + 1)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path)
        self.places[path] = Place(event.start_mark.line + 1, event.value)
        return self._scalar(event, path)

    def _mapping(self, path: tuple[str, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        lines: dict[str, int] = {}
        while not self._yaml.check_event(yaml.MappingEndEvent):
            event = self._yaml.peek_event()
            key = self._value((*path, "")) if isinstance(event, yaml.ScalarEvent) else None
            if isinstance(event, yaml.ScalarEvent) and event.implicit[0] and event.value == "<<":
                self._refuse(event, path, "has the merge key <<; write out what it stands for")
            if not isinstance(key, str):
                self._refuse(event, path, "has a key that YAML reads as no text; put the key into quotes")
            here = (*path, key)
            if key in found:
                self._refuse(event, here, f"stands twice, first on line {lines[key]}; leave one of the two")
            lines[key] = event.start_mark.line + 1
            found[key] = self._value(here)
        self._yaml.get_event()
        return found

    def _list(self, path: tuple[str, ...]) -> list[Any]:
        found: list[Any] = []
        while not self._yaml.check_event(yaml.SequenceEndEvent):
            found.append(self._value((*path, str(len(found)))))
        self._yaml.get_event()
        return found

    def _scalar(self, event: Any, path: tuple[str, ...]) -> Any:
        tag = self._yaml.resolve(yaml.ScalarNode, event.value, event.implicit)
        kind, written = tag.removeprefix(_TAG), event.value
        if kind in {"str", "merge", "value"}:
            return written
        try:
            value = self._yaml.construct_object(yaml.ScalarNode(tag, written))
        except (ValueError, OverflowError):
            what = "a date that no calendar has" if kind == "timestamp" else "no number"
            self._refuse(event, path, f"is {written[:40]}, {what}; correct it, or put text into quotes")
        allowed = _NUMBERS.get(kind)
        if allowed is not None and not allowed.fullmatch(written):
            self._refuse(
                event,
                path,
                f"is written {written[:40]}, which YAML reads as {value!r}; write a decimal number such as 12 or 0.5, "
                f"or text in quotes, '{written[:40]}'",
            )
        return value

    def _refuse(self, event: Any, path: tuple[str, ...], why: str) -> NoReturn:
        field = ".".join(part for part in path if part) or "the file"
        raise ConfigError(f"{self.origin}: line {event.start_mark.line + 1}: {field} {why}")
