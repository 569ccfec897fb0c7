"""A file of JSON that one person hands to another: bytes come in, the same bytes go out once they have one meaning.

Of two equal keys JSON's readers keep the last, so a file may show a person one fingerprint and the program another.
"""

import json
from typing import Any

MAX_BYTES = 1 << 20


def one_meaning(data: bytes) -> bytes:
    """Return the bytes; `ValueError` says which key stands twice in one object, or that this is no JSON."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES >> 20} MiB")
    try:
        json.loads(data, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return data


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"{key[:40]} stands twice in it")
        found[key] = value
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number")
