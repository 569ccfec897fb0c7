"""What a person must see of an app bundle before approving it: files, and differences to what is known here.

In: a bundle from the hub, and the last approved bundle or the installed program. Out: lines for a terminal. The
bundle is an adversary's: no sign of it reaches the terminal that could hide or move another.
"""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from shared.code_digest import PACKAGES, code_root
from shared.trust.app_bundle import Bundle

_EXPECTED = ("pyproject.toml", "deploy/studies/", *(f"{package}/" for package in PACKAGES))


@dataclass(frozen=True)
class Change:
    """One file that differs: `mark` is A (new), D (gone) or M (changed); lines that came and went."""

    mark: str
    name: str
    added: int
    removed: int
    diff: tuple[str, ...]


def installed_files(bundle: Bundle) -> dict[str, bytes]:
    """Return the files of the installed program: its code, and what else the bundle has that lies here too."""
    root = code_root()
    code = {path for package in PACKAGES for path in (root / package).rglob("*.py")}
    code |= {path for package in PACKAGES for path in (root / package).rglob("*.json")}
    code |= {path for path in (root / name for name in bundle.files) if path.is_file()}
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(code)}


def changes(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> list[Change]:
    """Return the files that differ, in order of name, each with a unified diff."""
    return [
        _change(name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if _compared(name, before.get(name)) != _compared(name, after.get(name))
    ]


def unexpected_files(bundle: Bundle) -> list[str]:
    """Return files outside the packages and the studies: Python may import them in place of a library."""
    return [name for name in bundle.files if not name.startswith(_EXPECTED)]


def visible(text: str) -> str:
    """Spell out every sign that does not print as itself: control signs, and those that turn text around."""
    return "".join(sign if sign.isprintable() or sign == "\t" else f"\\u{ord(sign):04x}" for sign in text)


def _change(name: str, before: bytes | None, after: bytes | None) -> Change:
    diff = tuple(_diff(name, _compared(name, before) or b"", _compared(name, after) or b""))
    mark = "A" if before is None else "D" if after is None else "M"
    body = diff[2:]
    return Change(
        mark,
        visible(name),
        sum(line.startswith("+") for line in body),
        sum(line.startswith("-") for line in body),
        diff,
    )


def _compared(name: str, data: bytes | None) -> bytes | None:
    """Return a file as it is compared: settings as programs read them, one a line, since `flwr build` rewrites them."""
    if data is None or name != "pyproject.toml":
        return data
    try:
        told = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError):
        return data
    return "\n".join(sorted(_settings("", told))).encode()


def _settings(path: str, value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, held in value.items():
            yield from _settings(f"{path}.{key}" if path else key, held)
    else:
        yield f"{path} = {value!r}"


def _diff(name: str, before: bytes, after: bytes) -> Iterator[str]:
    old, new = (data.decode("utf-8", "backslashreplace").split("\n") for data in (before, after))
    for line in difflib.unified_diff(old, new, f"before/{name}", f"after/{name}", lineterm=""):
        yield visible(line)
